package auth

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// ClientHeader is the metadata with the client that a service calls another service for. Services log
// it. It authorizes nothing.
const ClientHeader = "fairlead-client"

// OnBehalf returns a connection whose calls are authorized for the client in their context, as if the
// client called the public socket of the agent itself. Health and reflection need no client.
func (r Roles) OnBehalf(conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	return delegate{conn, r}
}

// delegate implements grpc.ClientConnInterface.
type delegate struct {
	conn  grpc.ClientConnInterface
	roles Roles
}

// Invoke makes a unary call.
func (d delegate) Invoke(ctx context.Context, method string, req, reply any, opts ...grpc.CallOption) error {
	ctx, err := d.authorize(ctx, method)
	if err != nil {
		return err
	}
	return d.conn.Invoke(ctx, method, req, reply, opts...)
}

// NewStream opens a stream.
func (d delegate) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string,
	opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, err := d.authorize(ctx, method)
	if err != nil {
		return nil, err
	}
	return d.conn.NewStream(ctx, desc, method, opts...)
}

// authorize returns a context that names the client.
func (d delegate) authorize(ctx context.Context, method string) (context.Context, error) {
	if IsInfrastructure(method) {
		return ctx, nil
	}
	who := ClientOf(ctx)
	if err := d.roles.Authorize(Admins, who, method); err != nil {
		return nil, err
	}
	return metadata.AppendToOutgoingContext(ctx, ClientHeader, who.String()), nil
}

// NamedClient returns the client that the calling service has named, for logs. It is empty if there is
// none.
func NamedClient(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	if named := md.Get(ClientHeader); len(named) == 1 {
		return named[0]
	}
	return ""
}
