package stats

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

func TestParseNetworks(t *testing.T) {
	got := parseNetworks(`Inter-|   Receive                            |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:   10    1    0    0    0     0          0         0       10       1    0    0    0     0       0          0
  eth0: 123456 12    1    2    0     0          0         0      789       8    3    4    0     0       0          0
`)
	want := Network{Interface: "eth0", ReceivedBytes: 123456, ReceivedPackets: 12, ReceiveErrors: 1, ReceiveDropped: 2,
		TransmittedBytes: 789, TransmittedPackets: 8, TransmissionErrors: 3, TransmissionsDropped: 4}
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// fakeContainer is a running container with the cgroup /f/c below root.
func fakeContainer(t *testing.T, root string) *container.Container {
	t.Helper()
	for name, text := range map[string]string{"cgroup.procs": "1\n", "cpu.stat": "usage_usec 7\n",
		"memory.current": "9000\n", "memory.max": "10000\n", "pids.current": "1\n", "pids.max": "20\n"} {
		write(t, root, name, text)
	}
	return &container.Container{ID: "c", Status: container.Running, Live: &container.RunState{}}
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	dir := filepath.Join(root, "f", "c")
	if err := errors.Join(os.MkdirAll(dir, 0o700),
		os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestFirstSampleHasCPUUsage(t *testing.T) {
	root := t.TempDir()
	c := fakeContainer(t, root)
	s := New(cgroup.Layout{Mode: cgroup.V2, Mounts: []string{root}, Parent: "/f"})
	defer s.Close()
	stopped := &container.Container{ID: "stopped"}

	got, err := s.First(t.Context(), []*container.Container{c, stopped}, time.Millisecond)
	if err != nil || len(got) != 2 || got[1].Running || got[1].Before != nil {
		t.Fatalf("got %+v, %v; want no values of the stopped container", got, err)
	}
	want := cgroup.Usage{CPU: 7000, Memory: 9000, MemoryLimit: 10000, Pids: 1, PidsLimit: 20}
	if got[0].Usage != want || got[0].Before == nil || got[0].Before.CPU != 7000 || got[0].Since < time.Millisecond {
		t.Errorf("got %+v", got[0])
	}

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.First(canceled, nil, time.Hour); err == nil {
		t.Error("got samples after a cancellation")
	}
}

func TestSamplesFollowUsageAndLimits(t *testing.T) {
	root := t.TempDir()
	c := fakeContainer(t, root)
	s := New(cgroup.Layout{Mode: cgroup.V2, Mounts: []string{root}, Parent: "/f"})
	defer s.Close()
	first := s.Sample([]*container.Container{c})[0]
	write(t, root, "cpu.stat", "usage_usec 9\n")
	write(t, root, "pids.max", "30\n")

	second := s.Sample([]*container.Container{c})[0]
	if first.Before != nil || second.Before == nil || *second.Before != first.Usage || second.Usage.CPU != 9000 {
		t.Errorf("got %+v after %+v", second, first)
	}

	updated := *c
	third := s.Sample([]*container.Container{&updated})[0]
	if third.Usage.PidsLimit != 30 || third.Before == nil || third.Before.CPU != 9000 {
		t.Errorf("got %+v, want the new limit of an updated container", third)
	}
}
