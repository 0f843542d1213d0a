// Package api implements the container, image and host services over gRPC. It converts and
// validates messages, and contains no policy. Package supervisor creates the Server; packages run
// and image do the work.
package api

import (
	"context"
	"errors"
	"net/netip"
	"path"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
	"github.com/fairlead/fairlead/services/supervisor/internal/processlist"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
	"github.com/fairlead/fairlead/services/supervisor/internal/run"
	"github.com/fairlead/fairlead/services/supervisor/internal/selection"
	"github.com/fairlead/fairlead/services/supervisor/internal/session"
	"github.com/fairlead/fairlead/services/supervisor/internal/stats"
)

// Containers is the part of package run that the handlers use.
type Containers interface {
	Run(ctx context.Context, req launch.Request) (*launch.Launched, error)
	Create(ctx context.Context, req launch.Request) (*launch.Launched, error)
	Start(ctx context.Context, ref string, attach bool, rows, cols uint16) (*launch.Launched, error)
	Attach(ctx context.Context, ref string, rows, cols uint16) (*launch.Launched, error)
	AttachWithLog(ctx context.Context, ref string, rows, cols uint16) (*launch.Launched, error)
	AttachBeforeStart(ctx context.Context, ref string, rows, cols uint16, logs bool) (*session.Pending, error)
	Resize(ctx context.Context, ref string, rows, cols uint16) error
	CreateExec(req session.ExecRequest) (string, error)
	StartExec(ctx context.Context, uid string, opts session.StartExec) (*container.Container, session.Session, error)
	ExecState(uid string) (session.ExecState, error)
	ExecIDs(uid string) []string
	ResizeExec(ctx context.Context, uid string, rows, cols uint16) error
	Exec(ctx context.Context, req session.ExecRequest) (*container.Container, session.Session, error)
	Stop(ctx context.Context, ref string, timeout *time.Duration, signal string) error
	Restart(ctx context.Context, ref string, timeout *time.Duration, signal string) (*launch.Launched, error)
	Kill(ctx context.Context, ref, signal string) error
	Pause(ctx context.Context, ref string) error
	Unpause(ctx context.Context, ref string) error
	Update(ctx context.Context, ref string, changes run.Changes) (warnings []string, err error)
	Signal(ctx context.Context, launched *launch.Launched, sig syscall.Signal) error
	Remove(ctx context.Context, ref string, force, withVolumes bool) error
	Rename(ctx context.Context, ref, name string) error
	Top(ref string, args []string) (processlist.Table, error)
	Stats(ctx context.Context, req run.StatsRequest, send func([]stats.Sample) error) error
	ConnectNetwork(ctx context.Context, ref string, a container.Attachment) error
	DisconnectNetwork(ctx context.Context, ref, network string) error
	PublishPorts(ctx context.Context, ref string, ports []port.Mapping,
		addresses []port.Address) (now []port.Binding, warnings []string, err error)
	UnpublishPorts(ctx context.Context, ref string, selections []port.Mapping, addresses []netip.Addr,
		all bool) error
	Wait(ctx context.Context, ref string, until run.Condition, waiting func()) (container.Exit, error)
	ExitOf(ctx context.Context, launched *launch.Launched) (container.Exit, error)
	Logs(ctx context.Context, ref string, opts session.LogOptions,
		emit func(e logfile.Entry, details string) error) error
	Find(ref string) (*container.Container, error)
	List() []*container.Container
	LogPath(uid string) string
}

// containerServer implements fairlead.container.v1.ContainerService.
type containerServer struct {
	containerv1.UnimplementedContainerServiceServer
	containers Containers
	volumes    Volumes
	disk       Disk
	images     selection.Images
	events     *events.Broker
	networks   NetworkEvents
	fleet      FleetEvents // nil without fleetagent
}

// CreateContainer implements ContainerServiceServer.
func (s *containerServer) CreateContainer(req *containerv1.CreateContainerRequest,
	stream grpc.ServerStreamingServer[containerv1.CreateContainerResponse]) error {
	progress := newProgress(req.GetSteps(), func(p *containerv1.Progress) error {
		return stream.Send(
			&containerv1.CreateContainerResponse{Event: &containerv1.CreateContainerResponse_Progress{Progress: p}})
	})

	defer progress.stop()

	r, err := requestFromProto(req.GetConfig(), req.GetCredentials(), progress)
	if err != nil {
		return err
	}

	created, err := s.containers.Create(stream.Context(), r)
	progress.stop()
	if err != nil {
		return err
	}

	return stream.Send(&containerv1.CreateContainerResponse{Event: &containerv1.CreateContainerResponse_Created{
		Created: &containerv1.Created{Id: created.Container.ID, Warnings: created.Warnings(stream.Context())}}})
}

// requestFromProto converts the parts that RunContainer and CreateContainer have in common.
func requestFromProto(cfg *containerv1.ContainerConfig, cred *containerv1.Credentials,
	progress *progress) (launch.Request, error) {
	if cfg == nil {
		return launch.Request{}, fault.Invalidf("container", "config", "configuration is missing")
	}
	c, err := protoconv.ConfigFromProto(cfg)
	return launch.Request{Config: c, Progress: progress.report, Credentials: launch.Credentials{
		Username: cred.GetUsername(), Password: cred.GetPassword(), IdentityToken: cred.GetIdentityToken()}}, err
}

// StartContainer implements ContainerServiceServer.
func (s *containerServer) StartContainer(ctx context.Context,
	req *containerv1.StartContainerRequest) (*containerv1.StartContainerResponse, error) {
	// A start continues if the client disconnects.
	started, err := s.containers.Start(context.WithoutCancel(ctx), req.GetReference(), false, 0, 0)
	if err != nil {
		return nil, err
	}
	return &containerv1.StartContainerResponse{Warnings: started.Warnings(ctx), WasRunning: started.WasRunning}, nil
}

// StopContainer implements ContainerServiceServer.
func (s *containerServer) StopContainer(ctx context.Context,
	req *containerv1.StopContainerRequest) (*containerv1.StopContainerResponse, error) {
	return &containerv1.StopContainerResponse{},
		s.containers.Stop(ctx, req.GetReference(), seconds(req.TimeoutSeconds), req.GetSignal())
}

// RestartContainer implements ContainerServiceServer.
func (s *containerServer) RestartContainer(ctx context.Context,
	req *containerv1.RestartContainerRequest) (*containerv1.RestartContainerResponse, error) {
	started, err := s.containers.Restart(ctx, req.GetReference(), seconds(req.TimeoutSeconds), req.GetSignal())
	if err != nil {
		return nil, err
	}
	return &containerv1.RestartContainerResponse{Warnings: started.Warnings(ctx)}, nil
}

func seconds(n *uint32) *time.Duration {
	if n == nil {
		return nil
	}
	d := time.Duration(*n) * time.Second
	return &d
}

// RenameContainer implements ContainerServiceServer.
func (s *containerServer) RenameContainer(ctx context.Context,
	req *containerv1.RenameContainerRequest) (*containerv1.RenameContainerResponse, error) {
	return &containerv1.RenameContainerResponse{}, s.containers.Rename(ctx, req.GetReference(), req.GetName())
}

// PauseContainer implements ContainerServiceServer.
func (s *containerServer) PauseContainer(ctx context.Context,
	req *containerv1.PauseContainerRequest) (*containerv1.PauseContainerResponse, error) {
	return &containerv1.PauseContainerResponse{}, s.containers.Pause(ctx, req.GetReference())
}

// UnpauseContainer implements ContainerServiceServer.
func (s *containerServer) UnpauseContainer(ctx context.Context,
	req *containerv1.UnpauseContainerRequest) (*containerv1.UnpauseContainerResponse, error) {
	return &containerv1.UnpauseContainerResponse{}, s.containers.Unpause(ctx, req.GetReference())
}

// UpdateContainer implements ContainerServiceServer.
func (s *containerServer) UpdateContainer(ctx context.Context,
	req *containerv1.UpdateContainerRequest) (*containerv1.UpdateContainerResponse, error) {
	var changes run.Changes
	if req.GetRestart() != nil {
		policy := protoconv.RestartPolicyFromProto(req.GetRestart())
		changes.Restart = &policy
	}
	if req.GetResources() != nil {
		limits, err := protoconv.ResourcesFromProto(req.GetResources())
		if err != nil {
			return nil, err
		}
		changes.Resources = &limits
	}
	if req.GetBandwidth() != nil {
		limit := protoconv.BandwidthFromProto(req.GetBandwidth())
		changes.Bandwidth = &limit
	}
	if req.GetPackets() != nil {
		packets := protoconv.PacketsFromProto(req.GetPackets())
		changes.Packets = &packets
	}
	changes.Connections = req.MaxConnections
	changes.Rules = policy.Rules{Egress: protoconv.EgressFromProto(req.GetEgress()),
		Ingress: protoconv.EgressFromProto(req.GetIngress())}
	warnings, err := s.containers.Update(ctx, req.GetReference(), changes)
	return &containerv1.UpdateContainerResponse{Warnings: warnings}, err
}

// KillContainer implements ContainerServiceServer.
func (s *containerServer) KillContainer(ctx context.Context,
	req *containerv1.KillContainerRequest) (*containerv1.KillContainerResponse, error) {
	return &containerv1.KillContainerResponse{}, s.containers.Kill(ctx, req.GetReference(), req.GetSignal())
}

// RemoveContainer implements ContainerServiceServer.
func (s *containerServer) RemoveContainer(ctx context.Context,
	req *containerv1.RemoveContainerRequest) (*containerv1.RemoveContainerResponse, error) {
	return &containerv1.RemoveContainerResponse{},
		s.containers.Remove(ctx, req.GetReference(), req.GetForce(), req.GetVolumes())
}

// ConnectNetwork implements ContainerServiceServer.
func (s *containerServer) ConnectNetwork(ctx context.Context,
	req *containerv1.ConnectNetworkRequest) (*containerv1.ConnectNetworkResponse, error) {
	a, err := protoconv.AttachmentFromProto(req.GetNetwork())
	if err != nil {
		return nil, err
	}
	return &containerv1.ConnectNetworkResponse{}, s.containers.ConnectNetwork(ctx, req.GetReference(), a)
}

// DisconnectNetwork implements ContainerServiceServer.
func (s *containerServer) DisconnectNetwork(ctx context.Context,
	req *containerv1.DisconnectNetworkRequest) (*containerv1.DisconnectNetworkResponse, error) {
	return &containerv1.DisconnectNetworkResponse{},
		s.containers.DisconnectNetwork(ctx, req.GetReference(), req.GetNetwork())
}

// conditions maps the conditions of WaitContainer; others mean NotRunning.
var conditions = map[containerv1.WaitCondition]run.Condition{
	containerv1.WaitCondition_WAIT_CONDITION_NEXT_EXIT: run.NextExit,
	containerv1.WaitCondition_WAIT_CONDITION_REMOVED:   run.Removed,
}

// WaitContainer implements ContainerServiceServer.
func (s *containerServer) WaitContainer(ctx context.Context,
	req *containerv1.WaitContainerRequest) (*containerv1.WaitContainerResponse, error) {
	exit, err := s.containers.Wait(ctx, req.GetReference(), conditions[req.GetCondition()], nil)
	return &containerv1.WaitContainerResponse{ExitCode: uint32(exit.Code)}, err
}

// WatchExit implements ContainerServiceServer.
func (s *containerServer) WatchExit(req *containerv1.WatchExitRequest,
	stream grpc.ServerStreamingServer[containerv1.WatchExitResponse]) error {
	var sent error
	exit, err := s.containers.Wait(stream.Context(), req.GetReference(), conditions[req.GetCondition()],
		func() { sent = stream.Send(&containerv1.WatchExitResponse{}) })
	if err := errors.Join(sent, err); err != nil {
		return err
	}
	return stream.Send(&containerv1.WatchExitResponse{Exited: &containerv1.Exited{ExitCode: uint32(exit.Code)}})
}

// GetContainer implements ContainerServiceServer.
func (s *containerServer) GetContainer(ctx context.Context,
	req *containerv1.GetContainerRequest) (*containerv1.GetContainerResponse, error) {
	c, err := s.containers.Find(req.GetReference())
	if err != nil {
		return nil, err
	}
	return &containerv1.GetContainerResponse{Container: s.measured(ctx, c, s.message(c), req.GetSize())}, nil
}

// message converts a container, with the directories of its volumes.
func (s *containerServer) message(c *container.Container) *containerv1.Container {
	return s.withVolumes(protoconv.ContainerToProto(c, s.containers.LogPath(c.ID), s.containers.ExecIDs(c.ID)))
}

// withVolumes adds the directories of the volumes of a container.
func (s *containerServer) withVolumes(out *containerv1.Container) *containerv1.Container {
	for _, m := range out.GetConfig().GetMounts() {
		if m.GetType() == containerv1.MountType_MOUNT_TYPE_VOLUME {
			m.HostPath = path.Join(s.volumes.Path(m.GetSource()), m.GetSubpath())
		}
	}
	return out
}

// ReadLogs implements ContainerServiceServer.
func (s *containerServer) ReadLogs(req *containerv1.ReadLogsRequest,
	stream grpc.ServerStreamingServer[containerv1.ReadLogsResponse]) error {
	opts := session.LogOptions{Follow: req.GetFollow(), Tail: -1, Joined: req.GetJoined()}
	if req.Tail != nil {
		opts.Tail = int(req.GetTail())
	}
	if req.GetSince() != nil {
		opts.Since = req.GetSince().AsTime()
	}
	if req.GetUntil() != nil {
		opts.Until = req.GetUntil().AsTime()
	}
	only, err := streamFromProto(req.GetStream())
	if err != nil {
		return err
	}
	opts.Only = logfile.Stream(only)

	return s.containers.Logs(stream.Context(), req.GetReference(), opts, func(e logfile.Entry, details string) error {
		m := protoconv.LogEntryToProto(e)
		if req.GetDetails() {
			m.Details = details
		}
		return stream.Send(m)
	})
}
