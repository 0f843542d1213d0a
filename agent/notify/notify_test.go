package notify

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func pending(s Signal) bool {
	select {
	case <-s:
		return true
	default:
		return false
	}
}

func TestSignalMergesNotifications(t *testing.T) {
	s := NewSignal()
	if pending(s) {
		t.Error("a new signal is notified")
	}
	for range 3 {
		s.Notify()
	}
	if !pending(s) {
		t.Error("got no notification")
	}
	if pending(s) {
		t.Error("got a second notification, want them merged")
	}
}

func TestNilSignal(t *testing.T) {
	var s Signal
	s.Notify()
	if pending(s) {
		t.Error("a nil signal is notified")
	}
}

func TestNotificationDuringWorkIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSignal()
		ctx, cancel := context.WithCancel(t.Context())
		runs := 0
		go func() {
			for s.Wait(ctx, 0) == nil {
				runs++
				time.Sleep(time.Second) // the work
			}
		}()
		s.Notify()
		synctest.Wait()
		s.Notify()
		s.Notify()
		time.Sleep(5 * time.Second)
		cancel()
		synctest.Wait()
		if runs != 2 {
			t.Errorf("got %d runs, want 2", runs)
		}
	})
}

func TestWaitDebounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, start := NewSignal(), time.Now()
		for i := range 4 { // the last one is after the interval
			time.AfterFunc(time.Duration(i)*30*time.Millisecond, s.Notify)
		}
		if err := s.Wait(t.Context(), 80*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 80*time.Millisecond {
			t.Errorf("returned after %v, want 80ms", d)
		}
		if pending(s) {
			t.Error("a notification during the interval is still pending")
		}
		if err := s.Wait(t.Context(), 0); err != nil || time.Since(start) != 90*time.Millisecond {
			t.Errorf("got %v after %v, want the last notification after 90ms", err, time.Since(start))
		}
	})
}

func TestWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSignal()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Wait(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("not notified: got %v, want %v", err, context.DeadlineExceeded)
		}

		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.Notify()
		if err := s.Wait(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("during the interval: got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestNotifierWakesAllSubscribers(t *testing.T) {
	var n Notifier
	n.Notify() // without subscribers

	a, stopA := n.Subscribe()
	b, stopB := n.Subscribe()
	if !pending(a) || !pending(b) {
		t.Error("a new subscription is not notified")
	}
	n.Notify()
	n.Notify()
	if !pending(a) || !pending(b) {
		t.Error("Notify did not wake all subscribers")
	}
	if pending(a) || pending(b) {
		t.Error("notifications were not merged")
	}

	stopA()
	n.Notify()
	if pending(a) || !pending(b) {
		t.Error("want a notification of the remaining subscriber only")
	}
	stopB()
	stopB()
	if len(n.subscribers) != 0 {
		t.Errorf("got %d subscribers, want none", len(n.subscribers))
	}
}

func TestNotifierConcurrentUse(t *testing.T) {
	var n Notifier
	var all sync.WaitGroup
	for range 50 {
		all.Go(n.Notify)
		all.Go(func() {
			s, stop := n.Subscribe()
			<-s
			stop()
		})
	}
	all.Wait()
}
