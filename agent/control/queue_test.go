package control

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestQueueOrder(t *testing.T) {
	q, start := newQueue[string](), time.Unix(1000, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	take := func(now int, want string, wantWait time.Duration) {
		t.Helper()
		key, wait, ok := q.take(at(now))
		if key != want || wait != wantWait || ok != (want != "") {
			t.Errorf("take at %d: got %q, %v, %v, want %q, %v", now, key, wait, ok, want, wantWait)
		}
	}

	take(0, "", -1)
	q.add("b", at(2))
	q.add("a", at(3))
	q.add("c", at(9))
	take(0, "", 2*time.Second)
	q.add("a", at(1))
	q.add("b", at(5)) // keeps the earlier time
	take(1, "a", 0)
	take(4, "b", 0)
	take(4, "", 5*time.Second)

	q.add("b", at(4)) // is running
	take(4, "", 5*time.Second)
	q.finish("b")
	take(4, "b", 0)
	q.finish("b")
	q.finish("a")
	take(4, "", 5*time.Second)
	if len(q.items) != 1 || len(q.order) != 1 {
		t.Errorf("got %d keys, %d waiting, want 1 and 1", len(q.items), len(q.order))
	}
}

func TestBackoffDelays(t *testing.T) {
	q := newQueue[string]()
	q.add("a", time.Time{}.Add(1))
	q.take(time.Now())
	for i, want := range []time.Duration{3, 6, 12, 20, 20, 20} {
		if got := q.fail("a", 3, 20); got != want {
			t.Errorf("error %d: got %d, want %d", i+1, got, want)
		}
	}
	q.succeed("a")
	if got := q.fail("a", 3, 20); got != 3 {
		t.Errorf("after a success: got %d, want 3", got)
	}
}

// TestQueueModel compares the queue with maps that are searched linearly.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, now := newQueue[int](), time.Unix(1000, 0)
		waiting, running := map[int]time.Time{}, map[int]bool{}

		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				key := rapid.IntRange(0, 5).Draw(t, "key")
				due := now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "delay")) * time.Second)
				q.add(key, due)
				if old, ok := waiting[key]; !ok || due.Before(old) {
					waiting[key] = due
				}
			},
			"pass time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "seconds")) * time.Second)
			},
			"take": func(t *rapid.T) {
				key, wait, ok := q.take(now)
				earliest, found := time.Time{}, false
				for k, due := range waiting {
					if !running[k] && (!found || due.Before(earliest)) {
						earliest, found = due, true
					}
				}
				switch {
				case !found:
					if ok || wait >= 0 {
						t.Fatalf("got %d, %v, %v from an empty queue", key, wait, ok)
					}
				case earliest.After(now):
					if ok || wait != earliest.Sub(now) {
						t.Fatalf("got %d, %v, %v, want to wait %v", key, wait, ok, earliest.Sub(now))
					}
				case !ok || running[key] || !waiting[key].Equal(earliest):
					t.Fatalf("got %d (due %v), %v, want one due at %v", key, waiting[key], ok, earliest)
				default:
					delete(waiting, key)
					running[key] = true
				}
			},
			"finish": func(t *rapid.T) {
				for key := range running {
					q.finish(key)
					delete(running, key)
					break
				}
			},
		})
	})
}
