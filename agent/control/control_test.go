package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// recorder records the calls of a controller with their times, as "10ms key".
type recorder struct {
	start time.Time
	mu    sync.Mutex
	calls []string
}

func newRecorder() *recorder { return &recorder{start: time.Now()} }

func (r *recorder) note(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf("%v %s", time.Since(r.start), key))
}

func (r *recorder) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.calls, want) {
		t.Errorf("got calls %q, want %q", r.calls, want)
	}
}

// run runs a controller until the function returned is called.
func run(t *testing.T, c *Controller[string]) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { c.Run(ctx); close(done) }()
	return func() { cancel(); <-done }
}

func TestAddedKeysAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		c := New(func(_ context.Context, key string) (time.Duration, error) {
			r.note(key)
			return 0, nil
		}, Config[string]{Delay: 100 * time.Millisecond})
		c.Add("a") // before Run
		defer run(t, c)()

		time.Sleep(30 * time.Millisecond)
		c.Add("b", "a")
		c.Add()
		time.Sleep(time.Second)
		r.want(t, "100ms a", "130ms b")

		c.Add("a")
		time.Sleep(time.Second)
		r.want(t, "100ms a", "130ms b", "1.13s a")
	})
}

func TestEarlierCallWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		c := New(func(_ context.Context, key string) (time.Duration, error) {
			r.note(key)
			return 0, nil
		}, Config[string]{})
		defer run(t, c)()
		c.AddAfter(time.Minute, "a", "b", "c")
		c.AddAfter(time.Hour, "a")
		c.AddAfter(time.Second, "c")
		c.Add("b")
		time.Sleep(2 * time.Hour)
		r.want(t, "0s b", "1s c", "1m0s a")
	})
}

func TestAddDuringCallRepeatsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		c := New(func(_ context.Context, key string) (time.Duration, error) {
			r.note(key)
			time.Sleep(time.Second)
			return 0, nil
		}, Config[string]{Workers: 3})
		defer run(t, c)()
		c.Add("a")
		time.Sleep(time.Millisecond)
		c.Add("a")
		c.Add("a")
		time.Sleep(time.Minute)
		r.want(t, "0s a", "1s a")
	})
}

func TestWorkersRunConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		var running, most atomic.Int32
		c := New(func(_ context.Context, key string) (time.Duration, error) {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(time.Second)
			running.Add(-1)
			r.note("ended")
			return 0, nil
		}, Config[string]{Workers: 2})
		defer run(t, c)()
		synctest.Wait() // both workers are idle
		c.Add("a", "b", "c", "d", "e")
		time.Sleep(time.Minute)
		r.want(t, "1s ended", "1s ended", "2s ended", "2s ended", "3s ended")
		if most.Load() != 2 {
			t.Errorf("got %d concurrent calls, want 2", most.Load())
		}
	})
}

// TestIdleWorkerTakesTimers covers a worker that is idle while the other one is busy for longer than the next timer.
func TestIdleWorkerTakesTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		c := New(func(_ context.Context, key string) (time.Duration, error) {
			r.note(key)
			if key == "slow" {
				time.Sleep(time.Hour)
			}
			return 0, nil
		}, Config[string]{Workers: 2})
		defer run(t, c)()
		c.AddAfter(time.Minute, "later")
		c.Add("slow")
		time.Sleep(2 * time.Minute)
		r.want(t, "0s slow", "1m0s later")
		time.Sleep(time.Hour)
	})
}

func TestErrorsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		fail := errors.New("busy")
		c := New(func(_ context.Context, key string) (time.Duration, error) {
			r.note(key)
			return time.Nanosecond, fail
		}, Config[string]{MinBackoff: time.Second, MaxBackoff: 5 * time.Second,
			OnError: func(key string, err error, retryAfter time.Duration) {
				r.note(fmt.Sprint(key, " ", err, " ", retryAfter))
			}})
		defer run(t, c)()
		c.Add("a")
		time.Sleep(16 * time.Second)
		r.want(t, "0s a", "0s a busy 1s", "1s a", "1s a busy 2s", "3s a", "3s a busy 4s", "7s a", "7s a busy 5s",
			"12s a", "12s a busy 5s")
	})
}

func TestSuccessResetsBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		results := []error{errors.New("1"), errors.New("2"), nil, errors.New("3"), nil}
		c := New(func(_ context.Context, key string) (time.Duration, error) {
			r.note(key)
			err := results[0]
			results = results[1:]
			return 0, err
		}, Config[string]{})
		defer run(t, c)()
		c.Add("a")
		time.Sleep(time.Minute)
		c.Add("a")
		time.Sleep(time.Minute)
		r.want(t, "0s a", "100ms a", "300ms a", "1m0s a", "1m0.1s a")
		if len(c.queue.items) != 0 {
			t.Errorf("got %d stored keys, want none", len(c.queue.items))
		}
	})
}

func TestAddEndsBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		c := New(func(_ context.Context, key string) (time.Duration, error) {
			r.note(key)
			return 0, errors.New("busy")
		}, Config[string]{MinBackoff: time.Minute, MaxBackoff: time.Hour})
		defer run(t, c)()
		c.Add("a")
		time.Sleep(time.Second)
		c.Add("a")
		time.Sleep(3 * time.Minute)
		r.want(t, "0s a", "1s a", "2m1s a") // errors still count
	})
}

func TestAgainIsATimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		delays := []time.Duration{time.Hour, time.Minute, 0}
		c := New(func(_ context.Context, key string) (time.Duration, error) {
			r.note(key)
			again := delays[0]
			delays = delays[1:]
			return again, nil
		}, Config[string]{})
		defer run(t, c)()
		c.Add("a")
		time.Sleep(time.Second)
		c.Add("a") // its result replaces the hour
		time.Sleep(3 * time.Hour)
		r.want(t, "0s a", "1s a", "1m1s a")
	})
}

func TestAddDuringCallPrecedesTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		var c *Controller[string]
		c = New(func(_ context.Context, key string) (time.Duration, error) {
			if r.note(key); len(r.calls) == 1 {
				c.Add(key)
				return time.Hour, nil
			}
			return 0, nil
		}, Config[string]{Delay: time.Second})
		defer run(t, c)()
		c.AddAfter(0, "a")
		time.Sleep(3 * time.Hour)
		r.want(t, "0s a", "1s a")
	})
}

func TestResyncAddsAllKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		var mu sync.Mutex
		keys := []string{"a"}
		c := New(func(_ context.Context, key string) (time.Duration, error) {
			r.note(key)
			return 0, nil
		}, Config[string]{Resync: 30 * time.Second, Delay: time.Second,
			List: func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(keys) }})
		defer run(t, c)()
		time.Sleep(10 * time.Second)
		mu.Lock()
		keys = append(keys, "b")
		mu.Unlock()
		time.Sleep(60 * time.Second)
		r.want(t, "0s a", "30s a", "30s b", "1m0s a", "1m0s b")
	})
}

func TestRunEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started, failures := 0, 0
		c := New(func(ctx context.Context, _ string) (time.Duration, error) {
			started++
			<-ctx.Done()
			time.Sleep(time.Second) // cleans up
			return 0, ctx.Err()
		}, Config[string]{OnError: func(string, error, time.Duration) { failures++ }})
		stop := run(t, c)
		c.Add("a", "b")
		synctest.Wait()
		begin := time.Now()
		stop()
		if d := time.Since(begin); d != time.Second {
			t.Errorf("Run returned after %v, want to wait 1s for the call", d)
		}
		if started != 1 || failures != 0 {
			t.Errorf("got %d calls and %d errors, want 1 and 0", started, failures)
		}
		c.Add("c") // without effect, does not block
	})
}

// TestCallsOfOneKeyNeverOverlap adds keys from many goroutines. Each call must see all changes made before its key was
// added.
func TestCallsOfOneKeyNeverOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, changes = 7, 200
		var wanted, seen [keys]atomic.Int64
		var running [keys]atomic.Bool
		c := New(func(_ context.Context, k string) (time.Duration, error) {
			i := k[0] - '0'
			if running[i].Swap(true) {
				t.Error("two calls of a key overlap")
			}
			n := wanted[i].Load()
			time.Sleep(3 * time.Millisecond)
			seen[i].Store(n)
			running[i].Store(false)
			if n%3 == 0 {
				return 0, errors.New("third")
			}
			return time.Duration(n%2) * time.Millisecond, nil
		}, Config[string]{Workers: 4, Delay: time.Millisecond, MaxBackoff: 5 * time.Millisecond,
			MinBackoff: time.Millisecond})
		stop := run(t, c)

		var writers sync.WaitGroup
		for i := range keys {
			writers.Go(func() {
				for n := range changes {
					wanted[i].Add(1)
					c.AddAfter(time.Duration(n%3)*time.Millisecond, string(rune('0'+i)))
					time.Sleep(time.Duration(n%5) * time.Millisecond)
				}
			})
		}
		writers.Wait()
		time.Sleep(time.Second)
		stop()

		for i := range keys {
			if got := seen[i].Load(); got != changes {
				t.Errorf("key %d: the last call saw %d changes, want %d", i, got, changes)
			}
		}
	})
}
