package gateway

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

func member() rights {
	keys := record.ForFleet("/p", "f")
	return rights{host: keys.Host("me"), read: keys.All(), write: keys.Own("me")}
}

func TestKeysOfTheFleetAreReadOnly(t *testing.T) {
	for _, c := range []struct {
		key, end    string
		read, write bool
	}{
		{"/p/fairlead/1/f/h/me", "", true, false},
		{"/p/fairlead/1/f/live/me", "", true, true},
		{"/p/fairlead/1/f/live/you", "", true, false},
		{"/p/fairlead/1/f/", "/p/fairlead/1/f0", true, false},
		{"/p/fairlead/1/f/e/me/", "/p/fairlead/1/f/e/me0", true, true},
		{"/p/fairlead/1/f/e/me/", "/p/fairlead/1/f/e/you", true, false},
		{"/p/fairlead/1/f/e/me/", "/p/fairlead/1/f0", true, false},
		{"/p/fairlead/1/f/", "/p/fairlead/1/g", false, false},
		{"/p/fairlead/1/f/", "\x00", false, false}, // all keys from the first one on
		{"/p/fairlead/1/f/h/me", "/p/fairlead/1/f/h/me", false, false},
		{"/p/fairlead/1/g/h/me", "", false, false},
		{"/p/fairlead/1/f", "", false, false},
		{"/", "", false, false},
		{"", "\x00", false, false},
		{"", "", false, false},
	} {
		r := member()
		if got := r.mayRead([]byte(c.key), []byte(c.end)); got != c.read {
			t.Errorf("read %q to %q: got %t", c.key, c.end, got)
		}
		if got := r.mayWrite([]byte(c.key), []byte(c.end)); got != c.write {
			t.Errorf("write %q to %q: got %t", c.key, c.end, got)
		}
	}
}

func TestTransactionsOfMembers(t *testing.T) {
	const all = "/p/fairlead/1/f/"
	read := func(key string) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte(key)}}}
	}
	put := func(key string) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key), Lease: 7}}}
	}
	remove := func(key, end string) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{
			Key: []byte(key), RangeEnd: []byte(end)}}}
	}
	nested := &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{}}}
	for name, c := range map[string]struct {
		txn     *pb.TxnRequest
		allowed bool
	}{
		"empty":       {&pb.TxnRequest{}, true},
		"own":         {&pb.TxnRequest{Success: []*pb.RequestOp{put(all + "live/me"), remove(all+"i/me", "")}}, true},
		"another's":   {&pb.TxnRequest{Success: []*pb.RequestOp{put(all + "live/me"), put(all + "live/you")}}, false},
		"read":        {&pb.TxnRequest{Success: []*pb.RequestOp{read(all + "settings")}}, true},
		"read away":   {&pb.TxnRequest{Success: []*pb.RequestOp{read("/p/x")}}, false},
		"remove all":  {&pb.TxnRequest{Success: []*pb.RequestOp{remove(all, "/p/fairlead/1/f0")}}, false},
		"compare":     {&pb.TxnRequest{Compare: []*pb.Compare{{Key: []byte(all + "pool")}}}, true},
		"guess":       {&pb.TxnRequest{Compare: []*pb.Compare{{Key: []byte("/p/secret")}}}, false},
		"guess range": {&pb.TxnRequest{Compare: []*pb.Compare{{Key: []byte(all), RangeEnd: []byte("\x00")}}}, false},
		"else read":   {&pb.TxnRequest{Failure: []*pb.RequestOp{read(all + "live/me")}}, true},
		"else write":  {&pb.TxnRequest{Failure: []*pb.RequestOp{put(all + "live/me")}}, false},
		"nested":      {&pb.TxnRequest{Success: []*pb.RequestOp{nested}}, false},
		"nothing":     {&pb.TxnRequest{Success: []*pb.RequestOp{{}}}, false},
	} {
		if got := member().mayCommit(c.txn); got != c.allowed {
			t.Errorf("%s: got %t, want %t", name, got, c.allowed)
		}
	}
	got := leases(&pb.TxnRequest{Success: []*pb.RequestOp{put("a"), put("b"), read("c")}})
	if len(got) != 1 || got[0] != 7 {
		t.Errorf("got leases %v", got)
	}
}
