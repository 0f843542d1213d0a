package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// Identity identifies the client of a connection. It is determined once, when the connection is
// accepted.
type Identity struct {
	local       *unix.Ucred // of a Unix socket or local TCP client
	member      bool        // local, and in the group of the socket file
	certificate string      // of TLS: the subject of a certificate signed by the CA
	remote      string      // of TCP: the address
	unknown     bool        // a TCP client that cannot be identified
}

// Certified returns the identity of a client whose certificate a service has verified.
func Certified(certificate, remote string) Identity {
	return Identity{certificate: certificate, remote: remote}
}

// AuthType implements credentials.AuthInfo, so that gRPC passes the identity on with each call.
func (Identity) AuthType() string { return "fairlead" }

// String formats the identity for logs.
func (i Identity) String() string {
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

// IsAgentUser reports whether the client is root or the user of the agent.
func (i Identity) IsAgentUser() bool {
	return i.local != nil && (i.local.Uid == 0 || int(i.local.Uid) == os.Geteuid())
}

// IsAdmin reports whether the client may administer the host. A TCP client of this host without TLS
// has the rights of its user. Remote TCP clients without TLS are trusted only if the administrator
// has configured it.
func (i Identity) IsAdmin() bool {
	return i.IsAgentUser() || i.member || i.certificate != "" || i.local == nil && i.remote != "" && !i.unknown
}

// Peer returns a key for all connections of one user or host.
func (i Identity) Peer() string {
	switch {
	case i.local != nil:
		return fmt.Sprintf("uid=%d", i.local.Uid)
	case i.certificate != "":
		return fmt.Sprintf("certificate=%q", i.certificate)
	}
	address, _, err := net.SplitHostPort(i.remote)
	if err != nil {
		return i.remote
	}
	return address
}

// IdentityOf returns the identity of the client of a call.
func IdentityOf(ctx context.Context) Identity {
	if p, ok := peer.FromContext(ctx); ok {
		if i, ok := p.AuthInfo.(Identity); ok {
			return i
		}
	}
	return Identity{}
}

// WithClient returns a context whose calls are made for a client of this agent.
func WithClient(ctx context.Context, who Identity) context.Context {
	return context.WithValue(ctx, clientKey{}, who)
}

type clientKey struct{}

// ClientOf returns the client that calls with ctx are made for. It is unknown if there is none.
func ClientOf(ctx context.Context) Identity {
	if who, ok := ctx.Value(clientKey{}).(Identity); ok {
		return who
	}
	return Identity{unknown: true}
}

// Credentials identify clients: by the kernel for Unix sockets, by TLS for TCP. The zero value of a
// field means that nothing is trusted.
type Credentials struct {
	Log *slog.Logger
	// TLS returns the configuration for a new TCP connection, because certificates can be renewed
	// while the server runs. It can be nil and can return nil: no TLS.
	TLS func() *tls.Config
	// OpenTCP reports whether TCP clients without TLS are trusted. Otherwise, or if it is nil, a
	// client must be on this host and has the rights of the user that owns its socket.
	OpenTCP func() bool
	// Member reports whether such a user is an administrator. If it is nil, only root and the
	// agent's own user are.
	Member func(uid uint32) bool
}

// Transport returns the transport credentials of a server.
func (c Credentials) Transport() credentials.TransportCredentials {
	return peerCredentials{c, &failures{log: c.Log}}
}

// peerCredentials implements credentials.TransportCredentials.
type peerCredentials struct {
	Credentials
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
	if c.TLS != nil {
		config = c.TLS()
	}
	if config == nil {
		return conn, c.plain(conn, remote), nil
	}

	secured, info, err := credentials.NewTLS(config).ServerHandshake(conn)
	if err != nil {
		c.failures.add(remote, err)
		return nil, nil, err
	}

	return secured, OfCertificate(info.(credentials.TLSInfo).State, remote), nil
}

// OfCertificate returns the identity of a client with a verified certificate.
func OfCertificate(state tls.ConnectionState, remote string) Identity {
	if len(state.PeerCertificates) == 0 { // the TLS configuration requires one
		return Identity{remote: remote, unknown: true}
	}
	return Identity{certificate: state.PeerCertificates[0].Subject.String(), remote: remote}
}

// OfConn returns the identity of the client of a connection without TLS.
func (c Credentials) OfConn(conn net.Conn) Identity {
	if u, ok := conn.(*net.UnixConn); ok {
		who, err := localIdentity(u)
		if err != nil {
			return Identity{remote: conn.RemoteAddr().String(), unknown: true}
		}
		return who
	}
	return peerCredentials{c, &failures{log: c.Log}}.plain(conn, conn.RemoteAddr().String())
}

// plain returns the identity of a TCP client without TLS.
func (c peerCredentials) plain(conn net.Conn, remote string) Identity {
	if c.OpenTCP != nil && c.OpenTCP() {
		return Identity{remote: remote}
	}
	who, err := loopbackIdentity(conn, c.Member)
	if err != nil {
		c.failures.add(remote, err)
		return Identity{remote: remote, unknown: true}
	}
	return who
}

func localIdentity(conn *net.UnixConn) (Identity, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Identity{}, err
	}

	var who *unix.Ucred
	var groups []uint32
	var credErr, groupErr error
	err = raw.Control(func(fd uintptr) {
		who, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		groups, groupErr = peerGroups(int(fd))
	})
	if err := errors.Join(err, credErr, groupErr); err != nil {
		return Identity{}, fmt.Errorf("identify client of %s: %w", conn.LocalAddr(), err)
	}
	return Identity{local: who, member: inGroupOf(conn.LocalAddr().String(), append(groups, who.Gid))}, nil
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
