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
)

// Handler returns a handler that forwards each call over the connection that route returns for its
// method. Nil means that there is none.
func Handler(route func(method string) *grpc.ClientConn) grpc.StreamHandler {
	return func(_ any, in grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(in)
		conn := route(method)
		if conn == nil {
			return status.Errorf(codes.Unimplemented, "method %s: unknown method", method)
		}
		ctx, cancel := context.WithCancel(in.Context())
		defer cancel()
		md, ok := metadata.FromIncomingContext(ctx)
		if !ok {
			md = metadata.MD{}
		}
		md.Set(auth.ClientHeader, auth.IdentityOf(ctx).String()) // whatever the client has sent
		out, err := conn.NewStream(metadata.NewOutgoingContext(ctx, md),
			&grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
		if err != nil {
			return err
		}
		go requests(in, out, cancel)
		return responses(in, out)
	}
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
