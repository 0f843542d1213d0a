package api

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// Sizes of backups.
const (
	backupPart = 1 << 20
	maxBackup  = 256 << 20
)

// BackupFleet sends a backup in parts.
func (s *fleetServer) BackupFleet(_ *fleetv1.BackupFleetRequest,
	out grpc.ServerStreamingServer[fleetv1.BackupFleetResponse]) error {
	data, err := s.fleet.Backup(out.Context())
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n := min(backupPart, len(data))
		if err := out.Send(&fleetv1.BackupFleetResponse{Data: data[:n]}); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// RestoreFleet restores a fleet from a backup that arrives in parts.
func (s *fleetServer) RestoreFleet(in grpc.ClientStreamingServer[fleetv1.RestoreFleetRequest,
	fleetv1.RestoreFleetResponse]) error {
	var data []byte
	address := ""
	for {
		req, err := in.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if req.GetAddress() != "" {
			address = req.GetAddress()
		}
		if data = append(data, req.GetData()...); len(data) > maxBackup {
			return fault.New(fault.Invalid, "backup", "is larger than 256 MiB")
		}
	}
	fleet, host, err := s.fleet.Restore(in.Context(), data, address)
	if err != nil {
		return err
	}
	return in.SendAndClose(&fleetv1.RestoreFleetResponse{FleetId: fleet, Host: host})
}

// RecoverFleet continues the store with the copy of this host.
func (s *fleetServer) RecoverFleet(ctx context.Context, _ *fleetv1.RecoverFleetRequest) (*fleetv1.RecoverFleetResponse,
	error) {
	if err := s.fleet.Recover(ctx); err != nil {
		return nil, err
	}
	return &fleetv1.RecoverFleetResponse{}, nil
}
