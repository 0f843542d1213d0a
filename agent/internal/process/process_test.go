package process_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/internal/process"
	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
)

const timeout = time.Minute

func TestLockExclusiveAndRemovedOnRelease(t *testing.T) {
	dir := t.TempDir()
	first, err := process.Acquire("exec-root", dir, "net")
	if err != nil {
		t.Fatal(err)
	}

	_, err = process.Acquire("exec-root", dir, "net")
	want := fmt.Sprintf("exec-root %s: is in use by another agent with service net (process %d [", dir, os.Getpid())
	if !fault.Is(err, fault.Busy) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("second lock: got error %v, want %s", err, want)
	}

	other, err := process.Acquire("exec-root", dir, "nat")
	if err != nil {
		t.Errorf("lock with another name: %v", err)
	}

	for _, l := range []*process.Lock{first, other} {
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("got files %v left, want none", left)
	}

	again, err := process.Acquire("exec-root", dir, "net")
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}

	_ = again.Release()
}

// A killed process may have just forked. The child holds the lock until it executes its program.
func TestAcquireWaitsForLockOfDeadProcess(t *testing.T) {
	dir := t.TempDir()
	dead := exec.CommandContext(t.Context(), "true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}

	first, err := process.Acquire("exec-root", dir, "net")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "net.lock"), fmt.Appendf(nil, "%d\n", dead.Process.Pid),
		0o600); err != nil {
		t.Fatal(err)
	}

	time.AfterFunc(100*time.Millisecond, func() { _ = first.Release() })
	second, err := process.Acquire("exec-root", dir, "net")
	if err != nil {
		t.Fatal(err)
	}

	_ = second.Release()
}

func TestAcquireInMissingDirectoryUnavailable(t *testing.T) {
	if _, err := process.Acquire("data-root", filepath.Join(t.TempDir(), "no"), "net"); !fault.Is(err,
		fault.Unavailable) {
		t.Errorf("got error %v, want an Unavailable fault", err)
	}
}

// awaitZombie waits until a child process is a zombie.
func awaitZombie(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil &&
			strings.Contains(string(stat), ") Z ") {
			return
		}
	}
	t.Fatalf("process %d is not a zombie", pid)
}

func TestPidfileBusyOnlyWhileProcessLives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pid")
	child := exec.CommandContext(t.Context(), "sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "%d\n", child.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}

	_, err := process.WritePidfile(path)
	if want := fmt.Sprintf("pidfile %s: process %d [sleep] is running", path, child.Process.Pid); !fault.Is(err,
		fault.Busy) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got error %v, want %s", err, want)
	}

	_ = child.Process.Kill()
	awaitZombie(t, child.Process.Pid)
	p, err := process.WritePidfile(path)
	if err != nil {
		t.Fatalf("pidfile of a zombie: %v", err)
	}

	_ = child.Wait()
	if text, _ := os.ReadFile(path); string(text) != fmt.Sprintf("%d\n", os.Getpid()) {
		t.Errorf("got content %q, want the PID of this process", text)
	}
	if err := p.Remove(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("got files %v left, want none", left)
	}
}

// fullDisk mounts a file system without free space and returns its path.
func fullDisk(t *testing.T) string {
	t.Helper()
	testns.NeedRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	f, err := os.Create(filepath.Join(dir, "flood"))
	if err != nil {
		t.Fatal(err)
	}

	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLockOnFullDisk(t *testing.T) {
	dir := fullDisk(t)
	lock, err := process.Acquire("exec-root", dir, "net")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := process.Acquire("exec-root", dir, "net"); !fault.Is(err, fault.Busy) {
		t.Errorf("got %v, want a Busy fault for a second agent", err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

func TestPidfileOnFullDiskIsNotBusy(t *testing.T) {
	dir := fullDisk(t)
	if _, err := process.WritePidfile(filepath.Join(dir, "x.pid")); err == nil || fault.Is(err, fault.Busy) {
		t.Errorf("got %v, want an error that does not stop the agent", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "x.pid*")); len(left) > 0 {
		t.Errorf("got files %v left, want none", left)
	}
}

func TestNotifierSendsStateAndUnsetsVariable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	t.Setenv("NOTIFY_SOCKET", path)
	n, err := process.NotifierFromEnv()
	if err != nil || os.Getenv("NOTIFY_SOCKET") != "" {
		t.Fatalf("got error %v, NOTIFY_SOCKET=%q, want it unset", err, os.Getenv("NOTIFY_SOCKET"))
	}

	for _, c := range []struct {
		send func(context.Context) error
		want string
	}{{n.Ready, "READY=1"}, {n.Stopping, "STOPPING=1"}} {
		if err := c.send(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(timeout))
		b := make([]byte, 100)
		size, err := conn.Read(b)
		if string(b[:size]) != c.want {
			t.Errorf("got %q, error %v, want %q", b[:size], err, c.want)
		}
	}
	if err := (process.Notifier{}).Ready(t.Context()); err != nil {
		t.Errorf("without a manager: %v", err)
	}
}

func TestFirstSignalStopsSecondForces(t *testing.T) {
	forced := make(chan struct{}, 1)
	ctx, hangups, restore := process.SignalContext(t.Context(), slog.New(slog.DiscardHandler),
		func() { forced <- struct{}{} })
	defer restore()
	send := func(s unix.Signal) {
		if err := unix.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}

	send(unix.SIGHUP)
	select {
	case <-hangups:
	case <-time.After(timeout):
		t.Fatal("SIGHUP not received on the channel")
	}

	send(unix.SIGTERM)
	select {
	case <-ctx.Done():
	case <-time.After(timeout):
		t.Fatal("context not canceled by SIGTERM")
	}

	select {
	case <-forced:
		t.Fatal("exit forced by the first signal")
	default:
	}

	send(unix.SIGINT)
	select {
	case <-forced:
	case <-time.After(timeout):
		t.Fatal("exit not forced by the second signal")
	}
}
