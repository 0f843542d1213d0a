package runtime_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
)

func TestFiftyParallelContainers(t *testing.T) {
	h := newHost(t)
	const n = 50
	var all [n]*ctr
	for i := range all {
		all[i] = h.container("sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i))
		all[i].l.Attach = true
	}

	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			if err := c.create(); err != nil {
				t.Error(err)
				return
			}
			a := c.attach()
			c.start()
			if stdout, _ := readAll(t, a); stdout != fmt.Sprintln(i) {
				t.Errorf("container %d: got output %q", i, stdout)
			}
		})
	}

	wg.Wait()
	codes := map[int]bool{}
	for range n {
		select {
		case e := <-h.exits:
			codes[e.Code] = true
		case <-time.After(testTimeout):
			t.Fatal("timeout waiting for an exit")
		}
	}

	if len(codes) != n {
		t.Errorf("got %d different exit codes, want %d", len(codes), n)
	}

	for _, c := range all {
		wg.Go(c.remove)
	}

	wg.Wait()
	all[0].nothingLeft()
}

func TestRuncLifecycle(t *testing.T) {
	h := newHost(t)
	if _, err := h.driver.Runtime("runc"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("needs runc")
	}

	c := h.container("sh", "-c", "echo out; exit 7")
	c.l.Runtime, c.l.Attach = "runc", true
	a := c.mustCreate().attach()
	c.start()
	if stdout, _ := readAll(t, a); stdout != "out\n" {
		t.Errorf("got output %q", stdout)
	}

	c.wantExit(7)
	c.remove()
	c.nothingLeft()
}

func TestSeccompFilterIsReused(t *testing.T) {
	h := newHost(t)
	if path, err := h.driver.Runtime("crun"); err != nil || path == "" {
		t.Skip("needs crun")
	}

	var filters [3]string
	for i := range filters {
		c := h.container("true")
		c.l.Runtime = "crun"
		if i == 2 {
			c.opts.Host.MissingCapabilities = []string{"CAP_SYS_CHROOT"} // another profile
		}
		c.mustCreate()
		b, err := os.ReadFile(filepath.Join(h.root, "oci", c.id, "seccomp.bpf"))
		if err != nil || len(b) == 0 {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		config, err := os.ReadFile(filepath.Join(h.root, "containers", c.id, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		if given := strings.Contains(string(config), "run.oci.seccomp_bpf_data"); given != (i == 1) {
			t.Errorf("container %d: filter annotation is set: %v", i, given)
		}
		filters[i] = string(b)
	}

	if filters[0] != filters[1] || filters[0] == filters[2] {
		t.Error("want equal filters for equal profiles only")
	}
}

func TestReadOnlyMounts(t *testing.T) {
	h := newHost(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte("1.2.3.4 there\n"), 0o644); err != nil {
		t.Fatal(err)
	}

	for _, name := range runtimes(t, h) {
		c := h.container("sh", "-c", "cat /etc/hosts; echo x 2>/dev/null >/ro/x || echo refused; "+
			"echo x >/rw/x && echo written; echo y >>/etc/hosts && echo appended")
		c.opts.Mounts = []spec.Mount{{Source: dir, Target: "/ro", ReadOnly: true},
			{Source: t.TempDir(), Target: "/rw", Propagation: "rslave"}}
		c.opts.HostsFile = filepath.Join(dir, "hosts")
		c.l.Runtime, c.l.Attach = name, true
		a := c.mustCreate().attach()
		c.start()
		if stdout, stderr := readAll(t, a); !strings.HasPrefix(stdout, "1.2.3.4 there\n") ||
			!strings.HasSuffix(stdout, "refused\nwritten\nappended\n") {
			t.Errorf("%s: got output %q and %q", name, stdout, stderr)
		}
		c.wantExit(0)
	}
}

func TestHostNetwork(t *testing.T) {
	h := newHost(t)
	c := h.container("sh", "-c", "readlink /proc/self/ns/net; hostname")
	c.opts.NetNS = ""
	c.l.Attach = true
	own, err := os.Readlink("/proc/thread-self/ns/net") // the main thread may be in another namespace (testns)
	if err != nil {
		t.Fatal(err)
	}

	a := c.mustCreate().attach()
	c.start()
	if stdout, _ := readAll(t, a); stdout != own+"\nbox\n" {
		t.Errorf("got output %q, want %s and the container's own hostname", stdout, own)
	}
}
