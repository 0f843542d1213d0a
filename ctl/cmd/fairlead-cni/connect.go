package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/fairlead/fairlead/ctl/internal/cni"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// connectTimeout is the time that a call waits for a service that restarts.
const connectTimeout = 10 * time.Second

// peer is a service with the path of its socket.
type peer struct {
	title, socket string
	conn          *grpc.ClientConn
}

// connect returns a plugin that calls the services whose sockets are in a directory. Root may call them.
func connect(execRoot string) (*cni.Plugin, error) {
	net, err1 := dial("netagent", filepath.Join(execRoot, "net.sock"))
	nat, err2 := dial("natagent", filepath.Join(execRoot, "nat.sock"))
	dns, err3 := dial("dnsagent", filepath.Join(execRoot, "dns.sock"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	return &cni.Plugin{Networks: networkv1.NewNetworkServiceClient(net.conn),
		Sandboxes:    networkv1.NewSandboxServiceClient(net.conn),
		Publications: natv1.NewPublicationServiceClient(nat.conn), Names: dnsv1.NewNameServiceClient(dns.conn),
		Ready: func(ctx context.Context) error {
			return errors.Join(net.ready(ctx), nat.ready(ctx), dns.ready(ctx))
		}}, nil
}

func dial(title, socket string) (*peer, error) {
	p := &peer{title: title, socket: socket}
	var err error
	p.conn, err = grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(), grpc.WithChainUnaryInterceptor(p.wait, faultrpc.UnaryClient))
	return p, fault.Wrap(err, fault.Invalid, "socket "+socket, "cannot be used")
}

// wait delays a call until there is a connection.
func (p *peer) wait(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	limited, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		conn.Connect()
		if !conn.WaitForStateChange(limited, state) {
			return fault.New(fault.Unavailable, p.title, "is not responding at "+p.socket,
				fault.WithHint("check whether fairlead-agent is running"))
		}
	}
	return invoke(ctx, method, req, reply, conn, options...)
}

// ready returns an error if the service does not serve requests now.
func (p *peer) ready(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, statusTimeout/2)
	defer cancel()
	got, err := grpc_health_v1.NewHealthClient(p.conn).Check(limited, &grpc_health_v1.HealthCheckRequest{})
	if err == nil && got.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		err = fault.New(fault.Unavailable, p.title, "is starting", fault.WithHint("retry in a moment"))
	}
	return err
}
