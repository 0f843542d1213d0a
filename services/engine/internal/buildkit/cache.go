package buildkit

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// Methods of the build cache.
const (
	methodUsage = "/moby.buildkit.v1.Control/DiskUsage"
	methodPrune = "/moby.buildkit.v1.Control/Prune"
)

// Record is a record of the build cache.
type Record struct {
	ID, Type, Description string
	Parents               []string
	InUse, Shared         bool
	Size                  int64
	Created, LastUsed     time.Time // zero if it was never used
	UsageCount            int
}

// Prune selects the records that are removed. Sizes of 0 do not limit.
type Prune struct {
	All                             bool
	Filters                         []string // in BuildKit's syntax; all must match
	Unused                          time.Duration
	ReservedSpace, MaxUsed, MinFree int64
}

// Fields of the messages of the build cache.
const (
	recordID          wire.Number = 1
	recordInUse       wire.Number = 3
	recordSize        wire.Number = 4
	recordCreated     wire.Number = 6
	recordLastUsed    wire.Number = 7
	recordUsageCount  wire.Number = 8
	recordDescription wire.Number = 9
	recordType        wire.Number = 10
	recordShared      wire.Number = 11
	recordParents     wire.Number = 12

	usageRecord wire.Number = 1

	pruneFilter   wire.Number = 1
	pruneAll      wire.Number = 2
	pruneUnused   wire.Number = 3
	pruneReserved wire.Number = 4
	pruneMaxUsed  wire.Number = 5
	pruneMinFree  wire.Number = 6
)

// recordOf returns the record of a message.
func recordOf(m wire.Message) Record {
	return Record{ID: m.Text(recordID), Type: m.Text(recordType), Description: m.Text(recordDescription),
		Parents: m.Texts(recordParents), InUse: m.Int(recordInUse) != 0, Shared: m.Int(recordShared) != 0,
		Size: m.Int(recordSize), Created: timeOf(m.Message(recordCreated)),
		LastUsed: timeOf(m.Message(recordLastUsed)), UsageCount: int(m.Int(recordUsageCount))}
}

// timeOf returns the time of a google.protobuf.Timestamp.
func timeOf(m wire.Message) time.Time {
	if len(m) == 0 {
		return time.Time{}
	}
	return time.Unix(m.Int(1), m.Int(2)).UTC()
}

// Usage returns the records of the build cache.
func (b *BuildKit) Usage(ctx context.Context) ([]Record, error) {
	data, err := invoke(ctx, b.conn, methodUsage, nil)
	if err != nil {
		return nil, faultOf(err)
	}
	resp, err := wire.Parse(data)
	if err != nil {
		return nil, err
	}
	var all []Record
	for _, m := range resp.Messages(usageRecord) {
		all = append(all, recordOf(m))
	}
	return all, nil
}

// request returns the message of a prune.
func (p Prune) request() []byte {
	var m wire.Message
	for _, f := range p.Filters {
		m = m.WithText(pruneFilter, f)
	}
	if p.All {
		m = m.WithInt(pruneAll, 1)
	}
	for field, v := range map[wire.Number]int64{pruneUnused: int64(p.Unused), pruneReserved: p.ReservedSpace,
		pruneMaxUsed: p.MaxUsed, pruneMinFree: p.MinFree} {
		if v != 0 {
			m = m.WithInt(field, v)
		}
	}
	return m.Bytes()
}

// Prune removes records of the build cache and returns them.
func (b *BuildKit) Prune(ctx context.Context, p Prune) ([]Record, error) {
	ctx, cancel := context.WithCancel(outgoing(ctx))
	defer cancel()
	stream, err := b.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, methodPrune)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(&frame{p.request()}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	_ = stream.CloseSend() // the response has the error
	var all []Record
	for {
		f := &frame{}
		err := stream.RecvMsg(f)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, faultOf(err)
		}
		m, err := wire.Parse(f.data)
		if err != nil {
			return nil, err
		}
		all = append(all, recordOf(m))
	}
}

// faultOf returns an error of BuildKit without what gRPC adds.
func faultOf(err error) error {
	return fault.New(fault.Internal, "BuildKit", status.Convert(err).Message())
}
