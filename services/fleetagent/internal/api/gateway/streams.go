package gateway

import (
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// Watch passes the watches of a host on, for keys that it may read.
func (s *server) Watch(in grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]) error {
	r, err := s.caller(in.Context())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(onward(in.Context()))
	defer cancel(nil)
	out, err := pb.NewWatchClient(s.calls()).Watch(ctx)
	if err != nil {
		return refused(err)
	}
	go s.endRemoved(ctx, r, cancel)
	return pass(ctx, cancel, in, out, func(req *pb.WatchRequest) error {
		if c := req.GetCreateRequest(); c != nil && !r.mayRead(c.GetKey(), c.GetRangeEnd()) {
			return denied()
		}
		return nil
	}, func(res *pb.WatchResponse) error { return s.known(ctx, res.GetHeader()) })
}

// LeaseKeepAlive renews leases, whose keys the host may write.
func (s *server) LeaseKeepAlive(in grpc.BidiStreamingServer[pb.LeaseKeepAliveRequest,
	pb.LeaseKeepAliveResponse]) error {
	r, err := s.caller(in.Context())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(onward(in.Context()))
	defer cancel(nil)
	out, err := pb.NewLeaseClient(s.calls()).LeaseKeepAlive(ctx)
	if err != nil {
		return refused(err)
	}
	go s.endRemoved(ctx, r, cancel)
	return pass(ctx, cancel, in, out, func(req *pb.LeaseKeepAliveRequest) error {
		return s.checkLease(ctx, r, req.GetID())
	}, func(res *pb.LeaseKeepAliveResponse) error { return s.known(ctx, res.GetHeader()) })
}

// endRemoved ends a stream when its host, which was known here, is removed from the fleet.
func (s *server) endRemoved(ctx context.Context, r rights, cancel context.CancelCauseFunc) {
	id, known := record.Last(r.host), false
	for {
		changed := s.Mirror.Changed()
		present := s.host(id) != nil
		if known && !present {
			cancel(denied())
			return
		}
		known = known || present
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// pass passes the messages of two streams on until one of them ends. check and accept return an error for a
// message that must not be passed on.
func pass[Req, Res any](ctx context.Context, cancel context.CancelCauseFunc, in grpc.BidiStreamingServer[Req, Res],
	out grpc.BidiStreamingClient[Req, Res], check func(*Req) error, accept func(*Res) error) error {
	go func() {
		for {
			req, err := in.Recv()
			if err != nil { // the host has closed its side, or is gone
				_ = out.CloseSend()
				return
			}
			if err := check(req); err != nil {
				cancel(err)
				return
			}
			if out.Send(req) != nil { // Recv returns the reason
				return
			}
		}
	}()
	for {
		res, err := out.Recv()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil && in.Context().Err() == nil {
				return cause
			}
			return ended(err)
		}
		if err := accept(res); err != nil {
			return err
		}
		if err := in.Send(res); err != nil {
			return err
		}
	}
}

// ended returns the error of a stream of the store that has ended.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return refused(err)
}
