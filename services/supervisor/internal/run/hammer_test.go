package run_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/run"
)

// Eight concurrent clients run, stop, restart, kill, wait for and remove containers whose processes
// exit by themselves. No command fails unless it fails in Docker, and no resources remain.
func TestCommandsRaceWithProcessExit(t *testing.T) {
	const clients, loops = 8, 30
	h := newHost(t)
	h.lifetimes = func() time.Duration { return time.Duration(rand.IntN(3000)) * time.Microsecond }
	h.late = func() { time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond) }
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			for i := range loops {
				if err := hammer(ctx, h.runner, fmt.Sprintf("c%d", client), i); err != nil {
					t.Errorf("client %d, loop %d: %v", client, i, err)
				}
			}
		})
	}

	all.Wait()
	eventually(t, "nothing to be left", func() bool { return len(h.heldBy("")) == 0 && len(h.runner.List()) == 0 })
}

// hammer runs one container and ends it in one of several ways.
func hammer(ctx context.Context, r *run.Runner, name string, way int) error {
	req := request(name)
	req.Config.Network.Publish = nil
	req.Config.AutoRemove = way%6 == 5
	launched, err := r.Run(ctx, req)
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}

	time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
	soon := 10 * time.Millisecond
	switch way % 6 {
	case 0:
		return r.Remove(ctx, name, true, false)
	case 1:
		err = r.Stop(ctx, name, &soon, "")
	case 2:
		if err = r.Kill(ctx, name, ""); fault.Is(err, fault.Busy) {
			err = nil // not running, as in Docker
		}
		if _, werr := r.Wait(ctx, name, run.NotRunning, nil); werr != nil {
			return werr
		}
	case 3:
		_, err = r.Wait(ctx, name, run.NotRunning, nil)
	case 4:
		if _, err = r.Restart(ctx, name, &soon, ""); err == nil {
			_, err = r.ExitOf(ctx, launched)
		}
		if err == nil {
			return r.Remove(ctx, name, true, false)
		}
	case 5:
		if _, err = r.ExitOf(ctx, launched); err == nil {
			return nil // it removes itself
		}
	}

	if err != nil {
		return err
	}

	if c, err := r.Find(name); err != nil || c.Status != container.Exited {
		return fmt.Errorf("after the exit: got %+v, %w", c, err)
	}

	return r.Remove(ctx, name, false, false)
}
