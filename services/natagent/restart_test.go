package natagent_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent"
)

func newService(n *testns.NS, root string, log io.Writer) (*natagent.Service, error) {
	return natagent.New(context.Background(), natagent.Config{DataRoot: root, NetNS: n.Fd(),
		Log: slog.New(slog.NewTextHandler(log, nil))})
}

// traffic connects repeatedly until it is stopped; failed lists the errors.
func traffic(n *testns.NS, to string) (stop func() (asked int, failed []string)) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	var asked int
	var failed []string
	wg.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
			}
			asked++
			if got, err := ask(n, to, timeout); err != nil || got != "a" {
				failed = append(failed, got+" "+errText(err))
			}
		}
	})

	return func() (int, []string) {
		close(end)
		wg.Wait()
		return asked, failed
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// listing returns the table with handles, sorted, without the owner and the values of counters.
func listing(n *testns.NS) []string {
	var out []string
	for line := range strings.Lines(n.Run("nft", "-s", "-a", "list", "table", "inet", "fairlead")) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "flags owner") &&
			!strings.Contains(line, "progname") {
			out = append(out, strings.Trim(line, ","))
		}
	}
	slices.Sort(out)
	return out
}

func TestKillKeepsPublishedPorts(t *testing.T) {
	s := newSite(t)
	root := t.TempDir()
	const said = "published 0.0.0.0:8080>10.10.1.2:80/tcp 0.0.0.0:53>10.10.1.2:5000/udp <nil>"
	got, kill := agentProcess(t, s.host, root)
	if got != said {
		t.Fatalf("first natagent: got %q, want %q", got, said)
	}

	kill()
	r := start(t, s.host, root, io.Discard)
	s.guard(t, r) // the process did not know the network
	r.stop()

	got, kill = agentProcess(t, s.host, root)
	if got != said {
		t.Fatalf("next natagent: got %q, want %q", got, said)
	}

	stop := traffic(s.ext, "10.1.0.1:8080")
	before := listing(s.host)
	for range 5 {
		kill()
		wantAnswer(t, s.ext, "10.1.0.1:8080", "a")
		if got, kill = agentProcess(t, s.host, root); got != said {
			t.Fatalf("next natagent: got %q, want %q", got, said)
		}
	}

	if after := listing(s.host); !slices.Equal(after, before) {
		t.Errorf("the table was changed\nbefore:\n%s\nafter:\n%s", strings.Join(before, "\n"),
			strings.Join(after, "\n"))
	}

	if asked, failed := stop(); len(failed) > 0 {
		t.Errorf("%d of %d connections failed: %s", len(failed), asked, failed[0])
	}
	if _, err := s.host.Dial("tcp", "127.0.0.1:8080", timeout); err != nil {
		t.Errorf("127.0.0.1:8080: %v", err)
	}

	kill()

	r = start(t, s.host, root, io.Discard)
	release(t, r, "a")
	if left := leftovers(s.host); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

func TestStartRecreatesTable(t *testing.T) {
	s := newSite(t)
	root := t.TempDir()
	r := start(t, s.host, root, io.Discard)
	s.guard(t, r)
	mustPublish(t, r, request("a", "10.10.1.2", "", "8080:80"))
	s.host.Run("nft", "flush", "ruleset")
	wantAnswer(t, s.ext, "10.1.0.1:8080", "a") // an owned table is not flushed
	r.stop()
	s.host.Run("nft", "flush", "ruleset") // a table without owner may be flushed
	if out, err := s.host.Try("nft", "delete", "table", "inet", "fairlead"); err != nil &&
		!strings.Contains(out, "No such file") {
		t.Fatal(out)
	}

	start(t, s.host, root, io.Discard)
	wantAnswer(t, s.ext, "10.1.0.1:8080", "a")
}

func TestStartWithdrawsUnknownBindings(t *testing.T) {
	s := newSite(t)
	r := start(t, s.host, t.TempDir(), io.Discard)
	s.guard(t, r)
	mustPublish(t, r, request("a", "10.10.1.2", "", "8080:80"))
	wantAnswer(t, s.ext, "10.1.0.1:8080", "a")
	r.stop()
	start(t, s.host, t.TempDir(), io.Discard) // an empty store
	if left := leftovers(s.host); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

func TestPortTakenByProcessStaysPublished(t *testing.T) {
	s := newSite(t)
	root := t.TempDir()
	r := start(t, s.host, root, io.Discard)
	s.guard(t, r)
	mustPublish(t, r, request("a", "10.10.1.2", "", "8080:80"))
	r.stop()
	s.host.Listen("tcp4", "0.0.0.0:8080")
	var log bytes.Buffer
	r = start(t, s.host, root, &log)
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "0.0.0.0:8080/tcp") ||
		!strings.Contains(got, "natagent.test, pid") {
		t.Errorf("log:\n%s", got)
	}

	wantAnswer(t, s.ext, "10.1.0.1:8080", "a")
	release(t, r, "a")
}
