package etcd

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// floors holds the oldest patch that is accepted of each minor version, with the faults of the ones before.
var floors = map[string]int{"3.5": 33, "3.6": 14, "3.7": 1}

// CheckVersion refuses a server whose faults lose data or rights: older ones deliver watches with gaps
// after a compaction, revoke leases that are valid, and let users read keys of other users.
func CheckVersion(version string) error {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) == 3 {
		minor, _ := strconv.Atoi(parts[1])
		patch, err := strconv.Atoi(strings.SplitN(parts[2], "-", 2)[0])
		floor, known := floors[parts[0]+"."+parts[1]]
		if err == nil && (known && patch >= floor || parts[0] == "3" && minor > 7) {
			return nil
		}
	}
	return fault.New(fault.Invalid, "etcd "+version, "is older than 3.5.33, 3.6.14 or 3.7.1: it can lose watch events "+
		"and leases, and its permissions can be bypassed", fault.WithHint("upgrade etcd"))
}

// Status is the state of one server.
type Status struct {
	Version  string
	Size     int64 // of the database in bytes
	Quota    int64 // 0: not known
	Learner  bool
	Problems []string // alarms
	Cluster  uint64   // the ID of the cluster
	Leader   uint64   // the ID of the leader; 0: none
}

// Status returns the state of the server at a URL.
func (c *Client) Status(ctx context.Context, url string) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	r, err := c.c.Status(ctx, url)
	if err != nil {
		return Status{}, fault.New(fault.Unavailable, "store at "+url, "does not answer", fault.WithCause(err))
	}
	return Status{Version: r.Version, Size: r.DbSize, Quota: r.DbSizeQuota, Learner: r.IsLearner,
		Problems: r.Errors, Cluster: r.Header.ClusterId, Leader: r.Leader}, nil
}

// String describes the state.
func (s Status) String() string {
	text := fmt.Sprintf("etcd %s, %.1f MB", s.Version, float64(s.Size)/1e6)
	if s.Learner {
		text += ", follows without a vote"
	}
	return text
}
