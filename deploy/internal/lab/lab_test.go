package lab_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/deploy/internal/lab"
)

func TestMain(m *testing.M) {
	lab.Init()
	os.Exit(m.Run())
}

func newLab(t *testing.T) (*lab.Lab, context.Context) {
	t.Helper()

	testns.NeedRoot(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	l, err := lab.New(ctx)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(l.Dir); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", l.Dir, err)
		}
	})

	return l, ctx
}

func output(t *testing.T, ctx context.Context, m *lab.Machine, name string, args ...string) string {
	t.Helper()
	out, err := m.Output(ctx, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestClientReachesHost(t *testing.T) {
	l, ctx := newLab(t)
	for _, address := range []string{lab.HostIPv4, lab.HostIPv6} {
		listener, err := l.Host.Listen("tcp", "["+address+"]:80")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		output(t, ctx, l.Client, "bash", "-c", "exec 3<>/dev/tcp/"+address+"/80")
	}
}

func TestHostSeesOwnProcessesOnly(t *testing.T) {
	l, ctx := newLab(t)
	if pids := strings.Fields(output(t, ctx, l.Host, "sh", "-c", "ls -d /proc/[0-9]*")); len(pids) > 3 {
		t.Errorf("the host sees %v", pids)
	}
	if out := output(t, ctx, l.Host, "cat", "/etc/resolv.conf"); !strings.Contains(out, "lab.test") {
		t.Errorf("the host's resolv.conf is %q", out)
	}
}

func TestOrphanDiesWithHost(t *testing.T) {
	l, ctx := newLab(t)
	output(t, ctx, l.Host, "sh", "-c", "(sleep 1000 >/dev/null 2>&1 & echo $! >"+l.Dir+"/pid)")
	if left := l.Processes(); len(left) != 1 || left[0].Name != "sleep" {
		t.Fatalf("the host runs %v, want one sleep", left)
	}

	if err := l.Reboot(ctx); err != nil {
		t.Fatal(err)
	}

	if left := l.Processes(); len(left) != 0 {
		t.Errorf("after a reboot the host runs %v", left)
	}

	if _, err := os.Stat(l.Dir + "/pid"); err != nil {
		t.Errorf("a reboot lost a file: %v", err)
	}
}

func TestHostCommandCanBeKilled(t *testing.T) {
	l, _ := newLab(t)
	cmd := exec.Command("sleep", "1000")
	if err := l.Host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("wait: %v", err)
	}
}
