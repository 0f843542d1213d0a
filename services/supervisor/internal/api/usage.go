package api

import (
	"context"

	"google.golang.org/grpc"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
	"github.com/fairlead/fairlead/services/supervisor/internal/run"
	"github.com/fairlead/fairlead/services/supervisor/internal/stats"
)

// ListProcesses implements ContainerServiceServer.
func (s *containerServer) ListProcesses(_ context.Context,
	req *containerv1.ListProcessesRequest) (*containerv1.ListProcessesResponse, error) {
	table, err := s.containers.Top(req.GetReference(), req.GetPsArgs())
	if err != nil {
		return nil, err
	}
	out := &containerv1.ListProcessesResponse{Titles: table.Titles}
	for _, row := range table.Rows {
		out.Processes = append(out.Processes, &containerv1.ProcessRow{Values: row})
	}
	return out, nil
}

// StreamStats implements ContainerServiceServer.
func (s *containerServer) StreamStats(req *containerv1.StreamStatsRequest,
	stream grpc.ServerStreamingServer[containerv1.StreamStatsResponse]) error {
	return s.containers.Stats(stream.Context(),
		run.StatsRequest{References: req.GetReferences(), All: req.GetAll(), Stream: req.GetStream()},
		func(samples []stats.Sample) error { return stream.Send(protoconv.StatsToProto(samples)) })
}
