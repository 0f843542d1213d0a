package gateway

import (
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// rights says which keys a host may read and write: those of its fleet, and its own ones.
type rights struct {
	host  string // key of its record
	read  string
	write []string // prefixes
}

// mayRead reports whether the host may read a key, or a range of keys.
func (r rights) mayRead(key, end []byte) bool { return within(r.read, key, end) }

// mayWrite reports whether the host may write a key, or a range of keys.
func (r rights) mayWrite(key, end []byte) bool {
	return slices.ContainsFunc(r.write, func(prefix string) bool { return within(prefix, key, end) })
}

// within reports whether a key, or with an end a range of keys, is below a prefix.
func within(prefix string, key, end []byte) bool {
	if !strings.HasPrefix(string(key), prefix) {
		return false
	}
	return len(end) == 0 || string(end) > string(key) && string(end) <= clientv3.GetPrefixRangeEnd(prefix)
}

// mayRange reports whether the host may make a read.
func (r rights) mayRange(req *pb.RangeRequest) bool {
	return req != nil && r.mayRead(req.GetKey(), req.GetRangeEnd())
}

// mayCommit reports whether the host may make a transaction, without the leases in it. If its conditions do
// not hold, a transaction may only read: that happens for a host that was removed too.
func (r rights) mayCommit(req *pb.TxnRequest) bool {
	for _, c := range req.GetCompare() {
		if !r.mayRead(c.GetKey(), c.GetRangeEnd()) {
			return false
		}
	}
	for _, op := range req.GetFailure() {
		if !r.mayRange(op.GetRequestRange()) {
			return false
		}
	}
	for _, op := range req.GetSuccess() {
		if !r.mayDo(op) {
			return false
		}
	}
	return true
}

// mayDo reports whether the host may make a change, or a read.
func (r rights) mayDo(op *pb.RequestOp) bool {
	switch {
	case op.GetRequestPut() != nil:
		return r.mayWrite(op.GetRequestPut().GetKey(), nil)
	case op.GetRequestDeleteRange() != nil:
		return r.mayWrite(op.GetRequestDeleteRange().GetKey(), op.GetRequestDeleteRange().GetRangeEnd())
	}
	return r.mayRange(op.GetRequestRange())
}

// leases returns the leases that a transaction attaches keys to.
func leases(req *pb.TxnRequest) []int64 {
	var all []int64
	for _, op := range req.GetSuccess() {
		if id := op.GetRequestPut().GetLease(); id != 0 && !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}
