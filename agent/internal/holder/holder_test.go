package holder_test

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/internal/holder"
	"github.com/fairlead/fairlead/agent/test/testns"
)

const timeout = 30 * time.Second

// TestMain runs the test binary as a holder if a client started it as one.
func TestMain(m *testing.M) {
	if holder.IsHolder(os.Args) {
		if err := holder.Run(os.Args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// client returns a new client of the holder at path, as each process has one.
func client(t *testing.T, path string) *holder.Client {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := holder.New(path, []string{exe}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	t.Cleanup(c.Close)
	return c
}

// socket returns the socket path for the holder of a test. The holder stops with the test.
func socket(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "h.sock")
	t.Cleanup(func() {
		if err := client(t, path).Clear(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return path
}

// put stores the read end of a pipe that contains text.
func put(t *testing.T, c *holder.Client, name, text string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}

	_ = w.Close()
	if err := c.Put(t.Context(), name, r); err != nil {
		t.Fatal(err)
	}

	_ = r.Close()
}

// inherited reads all stored files through a new client, as the next process does. The text of a
// pipe can be read only once.
func inherited(t *testing.T, path string) map[string]string {
	t.Helper()
	c := holder.New(path, nil, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	defer c.Close()
	return read(t, c)
}

func read(t *testing.T, c *holder.Client) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, files := range c.Inherited() {
		for _, f := range files {
			text, err := io.ReadAll(f)
			if err != nil {
				t.Error(err)
			}
			all[name] += string(text)
			_ = f.Close()
		}
	}
	return all
}

// holders returns the PIDs of the holders that are children of this process.
func holders(t *testing.T) (all []int) {
	t.Helper()
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", os.Getpid()))
	for _, path := range paths {
		text, _ := os.ReadFile(path)
		for child := range strings.FieldsSeq(string(text)) {
			comm, _ := os.ReadFile("/proc/" + child + "/comm")
			if strings.TrimSpace(string(comm)) == "fairlead-holder" {
				var n int
				_, _ = fmt.Sscan(child, &n)
				all = append(all, n)
			}
		}
	}
	return all
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after %s", what, timeout)
		}
	}
}

func TestFilesOutliveClient(t *testing.T) {
	path := socket(t)
	first := client(t, path)
	const count = 200 // more than fit into one message
	for i := range count {
		put(t, first, fmt.Sprint("file", i), fmt.Sprint("text", i))
	}

	put(t, first, "file0", "replaced")
	if err := first.Drop(t.Context(), "file1"); err != nil {
		t.Fatal(err)
	}

	first.Close()
	second := client(t, path)
	got := read(t, second)
	if len(got) != count-1 || got["file0"] != "replaced" || got["file199"] != "text199" || got["file1"] != "" {
		t.Errorf("got %d files, %q", len(got), got)
	}

	for i := range count {
		if err := second.Drop(t.Context(), fmt.Sprint("file", i)); err != nil {
			t.Fatal(err)
		}
	}

	eventually(t, "one holder is left", func() bool { return len(holders(t)) == 1 })
	before := holders(t)
	put(t, second, "later", "x")
	eventually(t, "holder stores another file", func() bool { return len(inherited(t, path)) == 1 })
	if now := holders(t); len(now) != 1 || !slices.Equal(before, now) {
		t.Errorf("got holders %v, want the earlier one, %v", now, before)
	}
}

func TestCloseStopsHolderWithoutFiles(t *testing.T) {
	path := socket(t)
	for _, name := range []string{"first", "second"} {
		c := client(t, path)
		put(t, c, name, "1")
		eventually(t, "holder runs", func() bool { return len(holders(t)) == 1 })
		if err := c.Drop(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		c.Close()
		eventually(t, "holder exits", func() bool { return len(holders(t)) == 0 })
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("socket: got error %v, want that it does not exist", err)
		}
	}
}

func TestKilledHolderIsReplaced(t *testing.T) {
	path := socket(t)
	c := client(t, path)
	put(t, c, "a", "1")
	put(t, c, "b", "2")
	for range 3 {
		eventually(t, "both files are stored", func() bool { return len(inherited(t, path)) == 2 })
		for _, victim := range holders(t) {
			if err := unix.Kill(victim, unix.SIGKILL); err != nil {
				t.Error(err)
			}
		}
	}

	eventually(t, "both files are stored again", func() bool { return len(inherited(t, path)) == 2 })
}

func TestHolderHasNoPrivileges(t *testing.T) {
	testns.NeedRoot(t)
	path := socket(t)
	c := client(t, path)
	put(t, c, "a", "1")
	eventually(t, "holder runs", func() bool { return len(inherited(t, path)) == 1 })
	eventually(t, "one holder is left", func() bool { return len(holders(t)) == 1 })
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", holders(t)[0]))
	if err != nil {
		t.Fatal(err)
	}

	for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534\n", "Gid:\t65534\t65534\t65534\t65534\n",
		"Groups:\t \n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("want %q in\n%s", want, status)
		}
	}

	const none = "0000000000000000\n"
	for _, want := range []string{"CapInh:\t" + none, "CapPrm:\t" + none, "CapEff:\t" + none, "CapAmb:\t" + none,
		"CapBnd:\t" + none, "NoNewPrivs:\t1\n"} {
		if !strings.Contains(string(status), want) && !withC {
			t.Errorf("want %q in\n%s", want, status)
		}
	}

	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", holders(t)[0]))
	if err != nil || len(fds) > 16 {
		t.Errorf("got %d descriptors, error %v, want at most 16", len(fds), err)
	}
}

func TestClearStopsHolder(t *testing.T) {
	path := socket(t)
	c := client(t, path)
	put(t, c, "a", "1")
	c.Close()
	eventually(t, "holder runs", func() bool { return len(holders(t)) == 1 })
	if err := client(t, path).Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "holder exits", func() bool { return len(holders(t)) == 0 })
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("socket: got error %v, want that it does not exist", err)
	}
}

func TestSocketRemovalStopsHolder(t *testing.T) {
	path := socket(t)
	c := client(t, path)
	put(t, c, "a", "1")
	eventually(t, "holder runs", func() bool { return len(holders(t)) == 1 })
	c.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "holder exits", func() bool { return len(holders(t)) == 0 })
}
