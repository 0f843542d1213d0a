package lock_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/lock"
)

// panics returns what f panics with; empty: it does not panic.
func panics(f func()) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprint(r)
		}
	}()
	f()
	return ""
}

func TestLockOrder(t *testing.T) {
	s := lock.NewChecked()
	locks := []struct {
		name string
		take func() func()
	}{
		{"edit", s.Edit},
		{"owner", func() func() { return s.Owner("a") }},
		{"network", func() func() { return s.ReadNetworks("n1", "n2") }},
		{"device", s.Device},
	}

	for i, first := range locks {
		for j, second := range locks {
			got := panics(func() {
				defer first.take()()
				if i == j {
					second.take = map[string]func() func(){"edit": s.Edit, "device": s.Device,
						"owner":   func() func() { return s.Owner("b") },
						"network": func() func() { return s.WriteNetwork("n3") }}[second.name]
				}
				second.take()()
			})
			if allowed := i < j; allowed != (got == "") {
				t.Errorf("%s, then %s: got panic %q", first.name, second.name, got)
			}
		}
	}

	// After these panics, all locks are free and no goroutine is recorded to hold one.
	if got := panics(func() {
		defer s.Edit()()
		defer s.Owner("a")()
		defer s.WriteNetwork("n1")()
		s.Device()()
	}); got != "" {
		t.Errorf("the right order: got panic %q", got)
	}
}

func TestTryOwnerDoesNotWait(t *testing.T) {
	s := lock.NewChecked()
	unlock := s.Owner("a")
	if _, ok := s.TryOwner("a"); ok {
		t.Error("got the lock of an owner twice")
	}

	unlock()
	unlock, ok := s.TryOwner("a")
	if !ok {
		t.Fatal("the lock of an owner was not released")
	}
	unlock()
}

// TestOrderIsOfEachGoroutine releases a lock in another goroutine than the one that took it.
func TestOrderIsOfEachGoroutine(t *testing.T) {
	s := lock.NewChecked()
	unlock := s.Device()
	var other sync.WaitGroup
	other.Go(func() { s.Owner("a")() })
	other.Wait()
	other.Go(unlock)
	other.Wait()
	if got := panics(func() { s.Owner("a")() }); got != "" {
		t.Errorf("got panic %q", got)
	}
}
