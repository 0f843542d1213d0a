package keylock

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// unused fails the test if a lock is still stored.
func unused[K comparable, L any](t *testing.T, locks map[K]L) {
	t.Helper()
	if len(locks) != 0 {
		t.Errorf("got %d stored locks after use, want none", len(locks))
	}
}

func TestMutexExcludesSameKey(t *testing.T) {
	var m Mutex[string]
	var all sync.WaitGroup
	counts := [3]int{}
	for i := range 3 {
		for range 50 {
			all.Go(func() {
				defer m.Lock(string(rune('a' + i)))()
				counts[i]++ // the race detector reports a missing lock
			})
		}
	}
	all.Wait()

	if counts != [3]int{50, 50, 50} {
		t.Errorf("got %v, want 50 each", counts)
	}
	unused(t, m.locks)
}

func TestMutexKeysAreIndependent(t *testing.T) {
	var m Mutex[int]
	a := m.Lock(1)
	b := m.Lock(2)
	if len(m.locks) != 2 {
		t.Errorf("got %d locks, want 2", len(m.locks))
	}
	a()
	b()
	unused(t, m.locks)
}

func TestMutexWaitersKeepOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Mutex[string]
		var got []int
		unlock := m.Lock("k")
		for i := range 5 {
			go func() {
				defer m.Lock("k")()
				got = append(got, i)
			}()
			synctest.Wait() // it waits for the lock
		}
		unlock()
		synctest.Wait()

		if !slices.Equal(got, []int{0, 1, 2, 3, 4}) {
			t.Errorf("got order %v", got)
		}
		unused(t, m.locks)
	})
}

func TestLockContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Mutex[string]
		unlock := m.Lock("k")
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() {
			_, err := m.LockContext(ctx, "k")
			result <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}

		unlock()
		unused(t, m.locks)
		if _, err := m.LockContext(ctx, "k"); !errors.Is(err, context.Canceled) {
			t.Errorf("free lock, ended context: got %v, want %v", err, context.Canceled)
		}
		unused(t, m.locks)
	})
}

func TestLockContextGetsReleasedLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Mutex[string]
		first := m.Lock("k")
		var second func()
		go func() { second, _ = m.LockContext(t.Context(), "k") }()
		synctest.Wait()
		first()
		synctest.Wait()
		if second == nil {
			t.Fatal("the waiter did not get the lock")
		}
		if _, ok := m.TryLock("k"); ok {
			t.Error("TryLock of a held lock: got true")
		}
		second()
		unused(t, m.locks)
	})
}

func TestTryLock(t *testing.T) {
	var m Mutex[string]
	unlock, ok := m.TryLock("k")
	if !ok {
		t.Fatal("free lock: got false")
	}
	if _, ok := m.TryLock("k"); ok {
		t.Error("held lock: got true")
	}
	unlock()
	unused(t, m.locks)

	unlock, ok = m.TryLock("k")
	if !ok {
		t.Fatal("released lock: got false")
	}
	unlock()
}

func TestSecondUnlockPanics(t *testing.T) {
	var m Mutex[string]
	unlock := m.Lock("k")
	unlock()
	defer func() {
		if recover() == nil {
			t.Error("the second unlock did not panic")
		}
	}()
	unlock()
}

func TestSingle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSingle()
		unlock, err := s.LockContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := s.TryLock(); ok {
			t.Error("TryLock of a held lock: got true")
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.LockContext(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}

		unlock()
		unlock, ok := s.TryLock()
		if !ok {
			t.Fatal("TryLock of a released lock: got false")
		}
		unlock()
	})
}

// awaitUsers waits until a key has n holders and waiters. Package synctest cannot wait for a sync.RWMutex.
func awaitUsers(m *RWMutex[string], key string, n int) {
	for users := -1; users != n; runtime.Gosched() {
		m.mu.Lock()
		users = 0
		if h := m.locks[key]; h != nil {
			users = h.users
		}
		m.mu.Unlock()
	}
}

func TestRWMutexReadersShare(t *testing.T) {
	var m RWMutex[string]
	a, b := m.RLock("k", "l"), m.RLock("k")
	var written atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer m.Lock("k")()
		written.Store(true)
	}()

	awaitUsers(&m, "k", 3)
	a()
	if written.Load() {
		t.Error("the writer did not wait for the second reader")
	}
	b()
	<-done
	if !written.Load() {
		t.Error("the writer did not get the lock")
	}
	awaitUsers(&m, "k", 0)
	unused(t, m.locks)
}

func TestRWMutexWriterExcludes(t *testing.T) {
	var m RWMutex[string]
	var reads, writes atomic.Int32
	var all sync.WaitGroup
	unlock := m.Lock("k")
	all.Go(func() { defer m.RLock("j", "k")(); reads.Add(1) })
	all.Go(func() { defer m.Lock("k")(); writes.Add(1) })
	m.RLock("x")() // another key is free

	awaitUsers(&m, "k", 3)
	if reads.Load()+writes.Load() != 0 {
		t.Error("the write lock did not exclude others")
	}
	unlock()
	all.Wait()
	if reads.Load() != 1 || writes.Load() != 1 {
		t.Errorf("got %d reads and %d writes, want 1 each", reads.Load(), writes.Load())
	}
	unused(t, m.locks)
}

func TestRLockOfSeveralKeys(t *testing.T) {
	var m RWMutex[int]
	keys := []int{3, 1, 2, 3}
	unlock := m.RLock(keys...)
	if !slices.Equal(keys, []int{3, 1, 2, 3}) {
		t.Errorf("RLock changed the caller's keys: %v", keys)
	}
	if len(m.locks) != 3 {
		t.Errorf("got %d locks, want 3", len(m.locks))
	}
	unlock()
	m.RLock()()
	unused(t, m.locks)
}

// TestRLockDoesNotDeadlock locks the same keys in opposite orders, with writers between them.
func TestRLockDoesNotDeadlock(t *testing.T) {
	var m RWMutex[int]
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() { m.RLock(1, 2, 3)() })
		all.Go(func() { m.RLock(3, 2, 1)() })
		all.Go(func() { m.Lock(i%3 + 1)() })
	}
	all.Wait()
	unused(t, m.locks)
}
