// Package buildkit connects Docker's clients to BuildKit: the gRPC connections of POST /grpc, and those
// of POST /session on which BuildKit calls the client. Most calls pass unchanged. The package adds what
// BuildKit does not know: the image store. Images that Docker's exporter would store are loaded by the
// supervisor, and images of the store are used instead of those in registries.
//
// It is the only package of the engine that uses gRPC. Package builds has the handlers.
package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// maxMessage is the maximum size of a message. BuildKit's own limit is lower.
const maxMessage = 64 << 20

// frame is an encoded message.
type frame struct{ data []byte }

// rawCodec passes messages on without decoding them.
type rawCodec struct{}

// Name implements encoding.Codec. The content type on the wire is that of protobuf.
func (rawCodec) Name() string { return "proto" }

// Marshal implements encoding.Codec.
func (rawCodec) Marshal(v any) ([]byte, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("message of type %T cannot be passed on", v)
	}
	return f.data, nil
}

// Unmarshal implements encoding.Codec.
func (rawCodec) Unmarshal(data []byte, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("message of type %T cannot be passed on", v)
	}
	f.data = data
	return nil
}

// callOptions are the options of connections that pass messages on.
func callOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(
		grpc.ForceCodec(rawCodec{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage))}
}

// dial connects to the socket of BuildKit.
func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///buildkit", append(callOptions(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}))...)
}

// clientOn returns a client on a connection. It does not reconnect, and keeps an idle connection.
func clientOn(conn net.Conn) (*grpc.ClientConn, error) {
	var once sync.Once
	client, err := grpc.NewClient("passthrough:///client", append(callOptions(), grpc.WithIdleTimeout(0),
		grpc.WithContextDialer(func(context.Context, string) (c net.Conn, err error) {
			err = errors.New("the client is gone")
			once.Do(func() { c, err = conn, nil })
			return c, err
		}))...)
	if err == nil {
		client.Connect() // so that the end of the connection is noticed
	}
	return client, err
}

// serveOn serves calls on a connection until it is closed or ctx ends.
func serveOn(ctx context.Context, conn net.Conn, handle grpc.StreamHandler) {
	// Clients may ping as often as they like: the default would close their connection.
	server := grpc.NewServer(grpc.UnknownServiceHandler(handle), grpc.ForceServerCodec(rawCodec{}),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}))
	only := &onlyConn{Conn: conn, closed: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { _ = only.Close() })
	defer stop()
	_ = server.Serve(&oneListener{conn: only}) // it ends when the connection is closed
	server.Stop()
}

// onlyConn is a connection that reports its end.
type onlyConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

// Close closes the connection.
func (c *onlyConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.closed) })
	return err
}

// oneListener is a listener with one connection.
type oneListener struct {
	conn     *onlyConn
	accepted bool
}

// Accept returns the connection, and the second time the error of a closed listener once that is closed.
func (l *oneListener) Accept() (net.Conn, error) {
	if !l.accepted {
		l.accepted = true
		return l.conn, nil
	}
	<-l.conn.closed
	return nil, net.ErrClosed
}

// Close closes the connection.
func (l *oneListener) Close() error { return l.conn.Close() }

// Addr returns the address of the connection.
func (l *oneListener) Addr() net.Addr { return l.conn.LocalAddr() }

// forward passes a call on.
func forward(in grpc.ServerStream, method string, to grpc.ClientConnInterface) error {
	ctx, cancel := context.WithCancel(outgoing(in.Context()))
	defer cancel()
	out, err := to.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}

	go func() {
		if err := copyMessages(out.SendMsg, in.RecvMsg); err != nil {
			cancel()
			return
		}
		_ = out.CloseSend() // the response has the error
	}()

	header, err := out.Header()
	if err != nil {
		return err
	}
	if err := in.SendHeader(header); err != nil {
		return err
	}
	err = copyMessages(in.SendMsg, out.RecvMsg)
	in.SetTrailer(out.Trailer())
	return err
}

// copyMessages passes messages on until the sender has sent all.
func copyMessages(send, receive func(any) error) error {
	for {
		f := &frame{}
		err := receive(f)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = send(f)
		}
		if err != nil {
			return err
		}
	}
}

// outgoing returns a context whose outgoing metadata is what was received, except what gRPC sets itself.
func outgoing(ctx context.Context) context.Context {
	received, _ := metadata.FromIncomingContext(ctx)
	md := metadata.MD{}
	for key, values := range received {
		if key != "content-type" && key != "user-agent" && key != "te" && !strings.HasPrefix(key, ":") &&
			!strings.HasPrefix(key, "grpc-") {
			md[key] = values
		}
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// unary serves a call with one request and one response.
func unary(in grpc.ServerStream, handle func(ctx context.Context, req []byte) ([]byte, error)) error {
	req := &frame{}
	if err := in.RecvMsg(req); err != nil {
		return err
	}
	resp, err := handle(in.Context(), req.data)
	if err != nil {
		return err
	}
	return in.SendMsg(&frame{resp})
}

// invoke calls a method with one request and one response, with the metadata of a received call.
func invoke(ctx context.Context, to grpc.ClientConnInterface, method string, req []byte) ([]byte, error) {
	resp := &frame{}
	err := to.Invoke(outgoing(ctx), method, &frame{req}, resp)
	return resp.data, err
}

// notServed returns the error for a method that the engine does not serve to BuildKit: UNIMPLEMENTED.
func notServed(method string) error {
	return status.Errorf(codes.Unimplemented, "method %s is not served", method)
}
