package protoconv

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
)

// LogEntryToProto converts a log entry. The data is not copied and is valid as long as the entry.
func LogEntryToProto(e logfile.Entry) *containerv1.ReadLogsResponse {
	kind := containerv1.StreamKind_STREAM_KIND_STDOUT
	if e.Stream == logfile.Stderr {
		kind = containerv1.StreamKind_STREAM_KIND_STDERR
	}
	return &containerv1.ReadLogsResponse{Output: &containerv1.Output{Stream: kind, Data: e.Data},
		Time: timestamppb.New(e.Time)}
}
