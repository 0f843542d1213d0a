// Package proxy passes calls on to the service that they are for, without knowing their messages: how one public socket shows all
// services of a host, whichever process they are in. Who may call what was decided before.
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
)

// Handler passes each call on over the connection that route gives for its method; nil means that there is none.
func Handler(route func(method string) *grpc.ClientConn) grpc.StreamHandler {
	return func(_ any, in grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(in)
		conn := route(method)
		if conn == nil {
			return status.Errorf(codes.Unimplemented, "method %s: nobody here has it", method)
		}
		ctx, cancel := context.WithCancel(in.Context())
		defer cancel()
		md, _ := metadata.FromIncomingContext(ctx)
		out, err := conn.NewStream(metadata.NewOutgoingContext(ctx, md), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
		if err != nil {
			return err
		}
		go requests(in, out, cancel)
		return responses(in, out)
	}
}

// Messages travel as empty ones: protobuf keeps the bytes of fields that a message does not know, and writes them out again.

// requests passes messages on until the caller has no more. It ends with the call.
func requests(in grpc.ServerStream, out grpc.ClientStream, cancel func()) {
	for {
		message := new(emptypb.Empty)
		err := in.RecvMsg(message)
		if errors.Is(err, io.EOF) {
			_ = out.CloseSend() // what is wrong with the stream shows on the responses' side
			return
		}
		if err != nil {
			cancel()
			return
		}
		if out.SendMsg(message) != nil {
			return // likewise
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
