package protoconv

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

func TestSummaryKeepsWhatListsShow(t *testing.T) {
	shown := container.Container{ID: "c", ImageID: "i", Status: container.Exited, CreatedAt: time.Unix(1, 0),
		Config: container.Config{Name: "n", Image: "busybox", Mounts: []container.Mount{{Source: "data"}},
			Network: container.Network{Mode: "bridge"}},
		Process: container.Process{Args: []string{"sleep"}, Labels: map[string]string{"a": "b"}}}
	hidden := shown
	hidden.RuntimePath, hidden.Process.Env, hidden.Config.Command = "/usr/bin/crun", []string{"A=b"}, []string{"sleep"}
	hidden.Process.User, hidden.Config.Namespaces.IPC = "u", "private"

	got, want := SummaryToProto(&hidden), SummaryToProto(&shown)
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if full := ContainerToProto(&shown, "", nil); got.GetId() != "c" || got.GetConfig().GetName() != "n" ||
		!proto.Equal(got.GetConfig().GetNetwork(), full.GetConfig().GetNetwork()) ||
		len(got.GetConfig().GetLabels()) != 1 || len(got.GetConfig().GetMounts()) != 1 || len(got.GetArgs()) != 1 {
		t.Errorf("got %v", got)
	}
}
