// Package gateway passes the calls of hosts on to an external store. It runs on managers, which alone have
// the credentials of that store, and implements the API of etcd, so that hosts use one client for each
// kind of store.
//
// A host is known by its certificate of the fleet. As with the store of a fleet itself, a manager reads and
// writes all keys of the fleet, a member reads them and writes its own ones, and a host without a record
// does neither. Calls for other keys, and all other calls, are refused. The package keeps no state. It is
// used by fleetagent.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/mirror"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// Limits of connections. Hosts send a sign of life every ten seconds.
const (
	handshakeTime    = 5 * time.Second
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	keepaliveMinimum = 5 * time.Second
	maxStreams       = 1000
	// Certificates are verified when a connection is made. After this time, hosts connect with their present one.
	connectionAge   = time.Hour
	connectionGrace = 10 * time.Second // for calls; watches go on with the next connection
	maxRequest      = 4 << 20
)

// Config configures a gateway.
type Config struct {
	Fleet  string
	Keys   record.Keys
	Mirror *mirror.Mirror // with the records of hosts
	TLS    *tls.Config    // of the listener; verifies the certificates of hosts
	Log    *slog.Logger
}

// Store is an external store with the credentials of a serial number.
type Store struct {
	Client    *etcd.Client
	Endpoints []string // for errors
	Serial    uint64
}

// server implements the services of etcd that hosts use.
type server struct {
	Config
	pb.UnimplementedKVServer
	pb.UnimplementedWatchServer
	pb.UnimplementedLeaseServer
	pb.UnimplementedMaintenanceServer

	store atomic.Pointer[Store]
	seen  atomic.Pointer[etcd.Position] // the latest answer with the records of the fleet; nil: none yet
}

// denied returns the answer of etcd to a client that may not make a call.
func denied() error { return rpctypes.ErrGRPCPermissionDenied }

// calls returns the connection with the store.
func (s *server) calls() grpc.ClientConnInterface { return s.store.Load().Client.Calls() }

// serve serves a listener until ctx ends.
func (s *server) serve(ctx context.Context, l net.Listener) error {
	g := grpc.NewServer(grpc.Creds(credentials.NewTLS(s.TLS)), grpc.ConnectionTimeout(handshakeTime),
		grpc.MaxRecvMsgSize(maxRequest), grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveTime, Timeout: keepaliveTimeout,
			MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: connectionGrace}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinimum,
			PermitWithoutStream: true}))
	pb.RegisterKVServer(g, s)
	pb.RegisterWatchServer(g, s)
	pb.RegisterLeaseServer(g, s)
	pb.RegisterMaintenanceServer(g, s)
	defer g.Stop()
	defer context.AfterFunc(ctx, g.Stop)()
	if err := g.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) && ctx.Err() == nil {
		return err
	}
	return nil
}
