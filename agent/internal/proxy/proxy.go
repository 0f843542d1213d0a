// Package proxy forwards calls to the service that implements them, without parsing the messages.
// It lets one public socket serve all services of a host, in any process. Calls are authorized
// before.
package proxy

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/agent/tracing"
)

// Handler returns a handler that forwards each call over the connection that route returns for its
// method. Nil means that there is none. change, which can be nil, edits the metadata of each call.
func Handler(route func(method string) *grpc.ClientConn, change func(metadata.MD)) grpc.StreamHandler {
	return func(_ any, in grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(in)
		conn := route(method)
		if conn == nil {
			return status.Errorf(codes.Unimplemented, "method %s: unknown method", method)
		}
		return Forward(in, conn, change)
	}
}

// Forward forwards one call over a connection. change, which can be nil, edits its metadata.
func Forward(in grpc.ServerStream, conn grpc.ClientConnInterface, change func(metadata.MD)) error {
	method, _ := grpc.MethodFromServerStream(in)
	ctx, cancel := context.WithCancel(outgoing(in.Context(), change))
	defer cancel()
	out, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	go requests(in, out, cancel)
	return responses(in, out)
}

// Unary forwards one call with its decoded request and returns the response, which is encoded like
// the one that it was forwarded to.
func Unary(ctx context.Context, conn grpc.ClientConnInterface, method string, req any,
	change func(metadata.MD)) (any, error) {
	response := new(emptypb.Empty)
	var header, trailer metadata.MD
	err := conn.Invoke(outgoing(ctx, change), method, req, response, grpc.Header(&header), grpc.Trailer(&trailer))
	_, _ = grpc.SetHeader(ctx, header), grpc.SetTrailer(ctx, trailer) // they fail after the end of the call only
	return response, err
}

// outgoing returns the context of a forwarded call, with the metadata of the incoming one and the name
// of its client.
func outgoing(ctx context.Context, change func(metadata.MD)) context.Context {
	md, ok := metadata.FromIncomingContext(ctx)
	if !ok {
		md = metadata.MD{}
	}
	md.Set(auth.ClientHeader, auth.IdentityOf(ctx).String()) // whatever the client has sent
	tracing.Inject(ctx, func(key, value string) { md.Set(key, value) })
	if change != nil {
		change(md)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// Messages are forwarded as empty ones: protobuf keeps and rewrites the bytes of unknown fields.

// requests forwards messages until the client closes its side. It ends with the call.
func requests(in grpc.ServerStream, out grpc.ClientStream, cancel func()) {
	for {
		message := new(emptypb.Empty)
		err := in.RecvMsg(message)
		if errors.Is(err, io.EOF) {
			_ = out.CloseSend() // errors of the stream are returned by responses
			return
		}
		if err != nil {
			cancel()
			return
		}
		if out.SendMsg(message) != nil {
			return // see above
		}
	}
}

func responses(in grpc.ServerStream, out grpc.ClientStream) error {
	header, err := out.Header()
	if err == nil {
		err = in.SendHeader(header)
	}

	for err == nil {
		message := new(emptypb.Empty)
		if err = out.RecvMsg(message); err == nil {
			err = in.SendMsg(message)
		}
	}

	in.SetTrailer(out.Trailer())
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
