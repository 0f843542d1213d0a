package hub_test

import (
	"os"
	"testing"
	"time"

	"github.com/fairlead/fairlead/deploy/vm/internal/hub"
)

func plug(t *testing.T, w *hub.Hub) *os.File {
	t.Helper()
	f, err := w.AddPort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// hear is the next frame; empty if none comes.
func hear(t *testing.T, f *os.File, within time.Duration) string {
	t.Helper()
	if err := f.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	n, _ := f.Read(buffer)
	return string(buffer[:n])
}

func TestAFrameIsHeardByAllOthersAndWhoDoesNotListenIsInNobodysWay(t *testing.T) {
	w := &hub.Hub{}
	one, two, deaf := plug(t, w), plug(t, w), plug(t, w)
	for i := range 5000 { // more than can wait for the deaf one
		sent := "frame"
		if i%2 == 1 {
			sent = "another"
		}
		if _, err := one.WriteString(sent); err != nil {
			t.Fatal(err)
		}
		if got := hear(t, two, 10*time.Second); got != sent {
			t.Fatalf("frame %d was heard as %q", i, got)
		}
	}
	if got := hear(t, one, 20*time.Millisecond); got != "" {
		t.Errorf("the sender hears %q", got)
	}
	if got := hear(t, deaf, time.Second); got != "frame" {
		t.Errorf("who listens late hears %q", got)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Close() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the wire cannot be taken away while somebody does not listen")
	}
}
