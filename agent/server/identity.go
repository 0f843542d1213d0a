package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// identity is who is at the other end of a connection. It is found out once, when the connection comes in.
type identity struct {
	local       *unix.Ucred // by a unix socket
	member      bool        // local, and in the group of the socket's file
	certificate string      // by TLS: the name in a certificate that our CA signed
	remote      string      // by TCP: the address
	unknown     bool        // by TCP from this machine: the kernel does not say who it is
}

// AuthType makes it what gRPC passes on with each call.
func (identity) AuthType() string { return "fairlead" }

// String is for log lines.
func (i identity) String() string {
	switch {
	case i.local != nil && i.remote != "":
		return fmt.Sprintf("uid=%d %s", i.local.Uid, i.remote)
	case i.local != nil:
		return fmt.Sprintf("uid=%d gid=%d pid=%d", i.local.Uid, i.local.Gid, i.local.Pid)
	case i.certificate != "":
		return fmt.Sprintf("certificate=%q %s", i.certificate, i.remote)
	case i.remote != "":
		return i.remote
	}
	return "unknown"
}

// isAgentUser tells whether it is root or the user that the agent itself is.
func (i identity) isAgentUser() bool {
	return i.local != nil && (i.local.Uid == 0 || int(i.local.Uid) == os.Geteuid())
}

// isAdmin reports whether it may administer the host. By TCP without TLS, clients of this machine are the users that they are; all that
// reach the listener are trusted only if the administrator said so.
func (i identity) isAdmin() bool {
	return i.isAgentUser() || i.member || i.certificate != "" || i.local == nil && i.remote != "" && !i.unknown
}

func identityOf(ctx context.Context) identity {
	if p, ok := peer.FromContext(ctx); ok {
		if i, ok := p.AuthInfo.(identity); ok {
			return i
		}
	}
	return identity{}
}

// peerCredentials asks the kernel who is behind a unix socket, and TLS who is behind a TCP connection.
type peerCredentials struct {
	tls      func() *tls.Config
	open     func() bool           // whether all who reach a TCP listener without TLS are trusted
	member   func(uid uint32) bool // whether a user is in the group of administrators
	failures *failures
}

// authenticating is a connection that wants to know when the other end is known.
type authenticating interface{ Authenticated() }

func (c peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := c.handshake(conn)
	if a, ok := conn.(authenticating); ok && err == nil {
		a.Authenticated()
	}
	return secured, info, err
}

func (c peerCredentials) handshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if u, ok := conn.(*net.UnixConn); ok {
		i, err := localIdentity(u)
		return conn, i, err
	}
	remote := conn.RemoteAddr().String()
	var config *tls.Config
	if c.tls != nil {
		config = c.tls()
	}
	if config == nil {
		return conn, c.plain(conn, remote), nil
	}
	secured, info, err := credentials.NewTLS(config).ServerHandshake(conn)
	if err != nil {
		c.failures.add(remote, err)
		return nil, nil, err
	}
	state := info.(credentials.TLSInfo).State
	name := state.PeerCertificates[0].Subject.String() // there is one: the configuration requires it
	return secured, identity{certificate: name, remote: remote}, nil
}

// plain is who is at the other end of a TCP connection without TLS.
func (c peerCredentials) plain(conn net.Conn, remote string) identity {
	if c.open != nil && c.open() {
		return identity{remote: remote}
	}
	who, err := loopbackIdentity(conn, c.member)
	if err != nil {
		c.failures.add(remote, err)
		return identity{remote: remote, unknown: true}
	}
	return who
}

func localIdentity(conn *net.UnixConn) (identity, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return identity{}, err
	}
	var who *unix.Ucred
	var groups []uint32
	var credErr, groupErr error
	err = raw.Control(func(fd uintptr) {
		who, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		groups, groupErr = peerGroups(int(fd))
	})
	if err := errors.Join(err, credErr, groupErr); err != nil {
		return identity{}, fmt.Errorf("who connected to %s: %w", conn.LocalAddr(), err)
	}
	return identity{local: who, member: inGroupOf(conn.LocalAddr().String(), append(groups, who.Gid))}, nil
}

// inGroupOf tells whether one of the groups is that of the socket's file.
func inGroupOf(path string, groups []uint32) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && slices.Contains(groups, stat.Gid)
}

// The rest of credentials.TransportCredentials; servers use none of it.

func (c peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("server credentials cannot be a client's")
}

func (c peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

func (c peerCredentials) Clone() credentials.TransportCredentials { return c }

func (c peerCredentials) OverrideServerName(string) error { return nil }
