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

// identity identifies the client of a connection. It is determined once, when the connection is
// accepted.
type identity struct {
	local       *unix.Ucred // of a Unix socket or local TCP client
	member      bool        // local, and in the group of the socket file
	certificate string      // of TLS: the subject of a certificate signed by the CA
	remote      string      // of TCP: the address
	unknown     bool        // a TCP client that cannot be identified
}

// AuthType implements credentials.AuthInfo, so that gRPC passes the identity on with each call.
func (identity) AuthType() string { return "fairlead" }

// String formats the identity for logs.
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

// isAgentUser reports whether the client is root or the user of the agent.
func (i identity) isAgentUser() bool {
	return i.local != nil && (i.local.Uid == 0 || int(i.local.Uid) == os.Geteuid())
}

// isAdmin reports whether the client may administer the host. A TCP client of this host without TLS
// has the rights of its user. Remote TCP clients without TLS are trusted only if the administrator
// has configured it.
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

// peerCredentials identifies clients: by the kernel for Unix sockets, by TLS for TCP.
type peerCredentials struct {
	tls      func() *tls.Config
	open     func() bool           // reports whether TCP clients without TLS are trusted
	member   func(uid uint32) bool // reports whether a user is in the group of administrators
	failures *failures
}

// authenticating is a connection that is notified when the client is identified.
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
	name := state.PeerCertificates[0].Subject.String() // the TLS configuration requires a certificate
	return secured, identity{certificate: name, remote: remote}, nil
}

// plain returns the identity of a TCP client without TLS.
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
		return identity{}, fmt.Errorf("identify client of %s: %w", conn.LocalAddr(), err)
	}
	return identity{local: who, member: inGroupOf(conn.LocalAddr().String(), append(groups, who.Gid))}, nil
}

// inGroupOf reports whether one of the groups is the group of the socket file.
func inGroupOf(path string, groups []uint32) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && slices.Contains(groups, stat.Gid)
}

// The rest of credentials.TransportCredentials, which servers do not use.

func (c peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("server credentials cannot be used by a client")
}

func (c peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

func (c peerCredentials) Clone() credentials.TransportCredentials { return c }

func (c peerCredentials) OverrideServerName(string) error { return nil }
