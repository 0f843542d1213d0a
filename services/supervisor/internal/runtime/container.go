package runtime

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/console"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/oci"
)

// container is a container with a process, from Create or Adopt until Delete.
type container struct {
	id      string
	record  record
	runtime *oci.Program
	init    *process
	monitor *process // nil if it had already exited when the container was adopted

	started  atomic.Bool
	exitSeen chan struct{} // receives a value when the exit file may exist
	done     chan struct{} // closed when the process has ended and its exit is known

	console *console.Console

	mu    sync.Mutex
	early *Attachment // connected before the process existed; nil once returned by Attach
}

// record holds what a restarted agent needs to adopt a container.
type record struct {
	Runtime        string
	PID            int
	Started        uint64 // start time of the process, see startTime
	Monitor        int
	MonitorStarted uint64
	TTY            bool
	OpenStdin      bool
	StdinOnce      bool
}

const recordFile = "launch.json"

func (d *Driver) newContainer(uid string, r record, rt *oci.Program) *container {
	c := &container{id: uid, record: r, runtime: rt, exitSeen: make(chan struct{}, 1), done: make(chan struct{})}
	c.console = console.New(console.Options{
		Dial:      func(ctx context.Context) (*net.UnixConn, error) { return d.dial(ctx, c) },
		StdinOnce: r.OpenStdin && r.StdinOnce && !r.TTY,
	})
	return c
}

func (r *record) write(bundle string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp := filepath.Join(bundle, recordFile+".tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(bundle, recordFile))
}

func readRecord(bundle string) (record, error) {
	var r record
	b, err := os.ReadFile(filepath.Join(bundle, recordFile))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}

// ended reports whether the exit is known.
func (c *container) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// checkExit makes the watching goroutine check the exit file.
func (c *container) checkExit() {
	select {
	case c.exitSeen <- struct{}{}:
	default:
	}
}

// takeEarly returns the attachment made before the process existed. Later calls return nil.
func (c *container) takeEarly() *Attachment {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.early
	c.early = nil
	return a
}

// release closes the process descriptors, which stops their waiters. Clients stay connected,
// because they may not have read all output yet.
func (c *container) release() {
	if a := c.takeEarly(); a != nil {
		_ = a.Close()
	}
	if c.init != nil {
		c.init.close()
	}
	if c.monitor != nil {
		c.monitor.close()
	}
}
