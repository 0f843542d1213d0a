package buildkit

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// Methods that BuildKit calls on a session of the engine.
const (
	methodFiles       = "/moby.filesync.v1.FileSync/DiffCopy"
	methodCredentials = "/moby.filesync.v1.Auth/Credentials"
	methodHealth      = "/grpc.health.v1.Health/Check"
)

// local serves what a client of POST /build has sent.
type local struct{ build Build }

// serving is the response of a health check: status 1.
var serving = wire.Message{}.WithInt(1, 1).Bytes()

// serve serves a call of BuildKit.
func (l *local) serve(in grpc.ServerStream, method string) error {
	switch method {
	case methodHealth:
		return unary(in, func(context.Context, []byte) ([]byte, error) { return serving, nil })
	case methodFiles:
		return l.sendFiles(in)
	case methodCredentials:
		return unary(in, l.credentials)
	}
	return notServed(method)
}

// sendFiles sends the files of the build, except those that a pattern of the call excludes.
func (l *local) sendFiles(in grpc.ServerStream) error {
	if l.build.Context == nil {
		return status.Error(codes.NotFound, "the build has no files")
	}
	md, _ := metadata.FromIncomingContext(in.Context())
	files, err := fsutil.NewFilterFS(l.build.Context, &fsutil.FilterOpt{IncludePatterns: values(md, "include-patterns"),
		ExcludePatterns: values(md, "exclude-patterns"), FollowPaths: values(md, "followpaths")})
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return fsutil.Send(in.Context(), packets{in}, files, nil)
}

// values returns the values of a key, which can be encoded as in a query.
func values(md metadata.MD, key string) []string {
	all := md.Get(key)
	if encoded := md.Get(key + "-encoded"); len(encoded) == 0 || encoded[0] != "1" {
		return all
	}
	out := make([]string, len(all))
	for i, v := range all {
		out[i], _ = url.QueryUnescape(v) // empty if it is broken
	}
	return out
}

// credentialsHost is the field of a request for credentials; those of the response follow.
const (
	credentialsHost     wire.Number = 1
	credentialsUser     wire.Number = 1
	credentialsPassword wire.Number = 2
)

// credentials serves Credentials.
func (l *local) credentials(_ context.Context, data []byte) ([]byte, error) {
	req, err := wire.Parse(data)
	if err != nil {
		return nil, err
	}
	var resp wire.Message
	if l.build.Credentials != nil {
		if user, password := l.build.Credentials(req.Text(credentialsHost)); password != "" {
			resp = resp.WithText(credentialsUser, user).WithText(credentialsPassword, password)
		}
	}
	return resp.Bytes(), nil
}

// packets are the messages of a transfer of files.
type packets struct{ grpc.ServerStream }

var errPacket = errors.New("not a packet")

// SendMsg sends a packet.
func (p packets) SendMsg(m any) error {
	packet, ok := m.(*types.Packet)
	if !ok {
		return fmt.Errorf("%T: %w", m, errPacket)
	}
	data, err := packet.MarshalVT()
	if err != nil {
		return err
	}
	return p.ServerStream.SendMsg(&frame{data})
}

// RecvMsg receives a packet.
func (p packets) RecvMsg(m any) error {
	packet, ok := m.(*types.Packet)
	if !ok {
		return fmt.Errorf("%T: %w", m, errPacket)
	}
	f := &frame{}
	if err := p.ServerStream.RecvMsg(f); err != nil {
		return err
	}
	return packet.UnmarshalVT(f.data)
}
