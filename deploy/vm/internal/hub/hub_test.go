package hub_test

import (
	"os"
	"testing"
	"time"

	"github.com/fairlead/fairlead/deploy/vm/internal/hub"
)

func addPort(t *testing.T, w *hub.Hub) *os.File {
	t.Helper()
	f, err := w.AddPort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// receive returns the next frame, or an empty string.
func receive(t *testing.T, f *os.File, within time.Duration) string {
	t.Helper()
	if err := f.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	n, _ := f.Read(buffer)
	return string(buffer[:n])
}

func TestFramesReachAllOtherPorts(t *testing.T) {
	w := &hub.Hub{}
	one, two, idle := addPort(t, w), addPort(t, w), addPort(t, w)
	for i := range 5000 { // more than the queue of the idle port
		sent := "frame"
		if i%2 == 1 {
			sent = "another"
		}
		if _, err := one.WriteString(sent); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, two, 60*time.Second); got != sent {
			t.Fatalf("frame %d was received as %q", i, got)
		}
	}

	if got := receive(t, one, 20*time.Millisecond); got != "" {
		t.Errorf("sender received %q", got)
	}

	if got := receive(t, idle, time.Second); got != "frame" {
		t.Errorf("idle port received %q", got)
	}

	ended := make(chan error, 1)
	go func() { ended <- w.Close() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(60 * time.Second):
		t.Error("Close blocks while a port does not read")
	}
}
