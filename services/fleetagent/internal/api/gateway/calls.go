package gateway

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// caller returns the rights of the host that calls.
func (s *server) caller(ctx context.Context) (rights, error) {
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return rights{}, denied()
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return rights{}, denied()
	}
	// The handshake has verified the certificate. It can expire while the connection is used.
	who, err := pki.ParseIdentity(info.State.PeerCertificates[0])
	if err != nil || who.Fleet != s.Fleet || who.Role == pki.Operator {
		return rights{}, denied()
	}

	host := s.host(who.Host)
	if host == nil { // a host that has joined a moment ago is not known here yet
		if host, err = s.ask(ctx, who.Host); err != nil {
			return rights{}, err
		}
	}
	r := rights{host: s.Keys.Host(who.Host), read: s.Keys.All(), write: s.Keys.Own(who.Host)}
	if host.GetRole() == fleetv1.HostRole_HOST_ROLE_MANAGER {
		r.write = []string{s.Keys.All()}
	}
	return r, nil
}

// host returns the record of a host as this one knows it, or nil.
func (s *server) host(id string) (h *fleetv1.Host) {
	s.Mirror.Read(func(v *view.View) {
		if stored := v.Hosts()[id]; stored != nil {
			h = &fleetv1.Host{Role: stored.GetRole()}
		}
	})
	return h
}

// ask asks the store for the record of a host.
func (s *server) ask(ctx context.Context, id string) (*fleetv1.Host, error) {
	r, err := s.read(ctx, &pb.RangeRequest{Key: []byte(s.Keys.Host(id))})
	if err != nil {
		return nil, err
	}
	if len(r.GetKvs()) == 0 {
		return nil, s.absent(ctx)
	}
	host := &fleetv1.Host{}
	if err := record.Decode(s.Keys.Host(id), r.GetKvs()[0].GetValue(), host); err != nil {
		return nil, denied()
	}
	return host, nil
}

// onward returns the context of a call to the store. Of the metadata, only the demand for a leader goes on.
func onward(ctx context.Context) context.Context {
	if values := metadata.ValueFromIncomingContext(ctx, rpctypes.MetadataRequireLeaderKey); len(values) > 0 {
		return clientv3.WithRequireLeader(ctx)
	}
	return ctx
}

// same returns an error if an answer is not from the cluster with the records of the fleet: the name of the
// store can resolve to another one. A cluster that was restored from a snapshot has another ID and the records.
// One that was lost and founded again can have the same ID, and starts at the first revision.
func (s *server) same(ctx context.Context, h *pb.ResponseHeader) error {
	at := &etcd.Position{Cluster: h.GetClusterId(), Revision: h.GetRevision()}
	if at.Cluster == 0 { // a message without a position
		return nil
	}
	last := s.seen.Load()
	if last == nil || last.Cluster != at.Cluster || at.Revision < last.Revision {
		return s.check(ctx)
	}
	if at.Revision > last.Revision {
		s.seen.CompareAndSwap(last, at)
	}
	return nil
}

// check returns an error if the store does not have the records of the fleet.
func (s *server) check(ctx context.Context) error {
	r, err := pb.NewKVClient(s.calls()).Range(ctx, &pb.RangeRequest{Key: []byte(s.Keys.Settings()),
		KeysOnly: true})
	if err != nil {
		return refused(err)
	}
	if len(r.GetKvs()) == 0 {
		return status.Error(codes.FailedPrecondition, external.Other(s.store.Load().Endpoints).Error())
	}
	s.seen.Store(&etcd.Position{Cluster: r.GetHeader().GetClusterId(), Revision: r.GetHeader().GetRevision()})
	return nil
}

// absent returns the error for a host without a record: it was removed, or the store is another one.
func (s *server) absent(ctx context.Context) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	return denied()
}

// refused returns the error of a call to the store. If the store does not allow it to this manager, that must
// not be taken for the answer to a host that was removed.
func refused(err error) error {
	for _, e := range []error{rpctypes.ErrGRPCPermissionDenied, rpctypes.ErrGRPCUserNotFound,
		rpctypes.ErrGRPCAuthFailed, rpctypes.ErrGRPCUserEmpty} {
		if err != nil && status.Convert(err).Message() == status.Convert(e).Message() {
			return status.Error(codes.FailedPrecondition, "it does not allow the credentials of managers to read and "+
				"write the keys of the fleet: "+status.Convert(err).Message())
		}
	}
	if status.Code(err) == codes.Canceled {
		return status.Error(codes.Unavailable, "the connection with the store was closed")
	}
	return err
}

// Range reads keys.
func (s *server) Range(ctx context.Context, req *pb.RangeRequest) (*pb.RangeResponse, error) {
	r, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	if !r.mayRange(req) {
		return nil, denied()
	}
	return s.read(ctx, req)
}

func (s *server) read(ctx context.Context, req *pb.RangeRequest) (*pb.RangeResponse, error) {
	res, err := pb.NewKVClient(s.calls()).Range(ctx, req)
	if err == nil {
		err = s.same(ctx, res.GetHeader())
	}
	if err != nil {
		return nil, refused(err)
	}
	return res, nil
}

// Txn makes a transaction, of which it is a condition that the host is part of the fleet.
func (s *server) Txn(ctx context.Context, req *pb.TxnRequest) (*pb.TxnResponse, error) {
	r, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	if !r.mayCommit(req) {
		return nil, denied()
	}
	for _, id := range leases(req) {
		if err := s.checkLease(ctx, r, id); err != nil {
			return nil, err
		}
	}

	present := &pb.Compare{Key: []byte(r.host), Target: pb.Compare_CREATE, Result: pb.Compare_GREATER,
		TargetUnion: &pb.Compare_CreateRevision{CreateRevision: 0}}
	asked := &pb.TxnRequest{Compare: append(req.GetCompare(), present), Success: req.GetSuccess(),
		Failure: append(req.GetFailure(), &pb.RequestOp{Request: &pb.RequestOp_RequestRange{
			RequestRange: &pb.RangeRequest{Key: []byte(r.host), KeysOnly: true}}})}
	res, err := pb.NewKVClient(s.calls()).Txn(ctx, asked)
	if err == nil {
		err = s.same(ctx, res.GetHeader())
	}
	if err != nil || res.GetSucceeded() {
		return res, refused(err)
	}
	last := len(res.GetResponses()) - 1
	if last < 0 || len(res.GetResponses()[last].GetResponseRange().GetKvs()) == 0 {
		return nil, s.absent(ctx)
	}
	res.Responses = res.Responses[:last]
	return res, nil
}

// LeaseGrant makes a lease, whose ID the store chooses.
func (s *server) LeaseGrant(ctx context.Context, req *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	if _, err := s.caller(ctx); err != nil {
		return nil, err
	}
	res, err := pb.NewLeaseClient(s.calls()).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: req.GetTTL()})
	if err == nil {
		err = s.same(ctx, res.GetHeader())
	}
	return res, refused(err)
}

// LeaseRevoke ends a lease, whose keys the host may write.
func (s *server) LeaseRevoke(ctx context.Context, req *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	r, err := s.caller(ctx)
	if err == nil {
		err = s.checkLease(ctx, r, req.GetID())
	}
	if err != nil {
		return nil, err
	}
	res, err := pb.NewLeaseClient(s.calls()).LeaseRevoke(ctx, req)
	return res, refused(err)
}

// checkLease refuses a lease of keys that the host may not write.
func (s *server) checkLease(ctx context.Context, r rights, id int64) error {
	res, err := pb.NewLeaseClient(s.calls()).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true})
	if err == nil {
		err = s.same(ctx, res.GetHeader())
	}
	if err != nil {
		return refused(err)
	}
	for _, key := range res.GetKeys() {
		if !r.mayWrite(key, nil) {
			return denied()
		}
	}
	return nil
}

// Status returns the state of the server that answers.
func (s *server) Status(ctx context.Context, req *pb.StatusRequest) (*pb.StatusResponse, error) {
	if _, err := s.caller(ctx); err != nil {
		return nil, err
	}
	res, err := pb.NewMaintenanceClient(s.calls()).Status(ctx, req)
	return res, refused(err)
}

// known is same for a message of a stream, whose revision can be older than the latest answer.
func (s *server) known(ctx context.Context, h *pb.ResponseHeader) error {
	if last := s.seen.Load(); last != nil && last.Cluster == h.GetClusterId() {
		return nil
	}
	return s.same(ctx, h)
}
