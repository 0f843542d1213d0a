package server

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/fairlead/fairlead/agent/internal/auth"
)

// Entry authorizes, logs and handles calls that a service accepts on a server of its own. The service
// has verified the certificate of the client, which may administer this host.
type Entry struct {
	calls  *calls
	handle grpc.StreamHandler
}

// NewEntry returns an entry for the calls of Forwarded services, which Forward handles. It fails if
// a method of them has no role.
func NewEntry(cfg Config) (*Entry, error) {
	roles, err := auth.RolesOf(cfg.Forwarded)
	if err != nil {
		return nil, err
	}
	c := newCalls(cfg)
	c.roles, c.audience = roles, auth.Admins
	c.open()
	return &Entry{c, cfg.Forward}, nil
}

// Handle handles one call of the client with a certificate.
func (e *Entry) Handle(in grpc.ServerStream, certificate string) error {
	remote := ""
	p, ok := peer.FromContext(in.Context())
	if ok {
		remote = p.Addr.String()
		p = &peer.Peer{Addr: p.Addr, LocalAddr: p.LocalAddr}
	} else {
		p = &peer.Peer{}
	}
	p.AuthInfo = auth.Certified(certificate, remote)

	method, _ := grpc.MethodFromServerStream(in)
	return e.calls.stream(nil, certifiedStream{in, peer.NewContext(in.Context(), p)},
		&grpc.StreamServerInfo{FullMethod: method, IsClientStream: true, IsServerStream: true}, e.handle)
}

// certifiedStream is a stream with the identity of its client.
type certifiedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s certifiedStream) Context() context.Context { return s.ctx }
