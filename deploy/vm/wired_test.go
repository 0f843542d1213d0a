package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/deploy/internal/debimage"
	"github.com/fairlead/fairlead/deploy/vm/internal/hub"
	"github.com/fairlead/fairlead/deploy/vm/internal/remote"
)

// machineNames lists the machines on the hub. One and two have an agent each. lan is the router and
// the DHCP server of the LAN, and captures packets.
var machineNames = []string{"lan", "one", "two"}

// machineMAC returns the MAC address of a machine.
func machineMAC(name string) string {
	return fmt.Sprintf("52:54:00:00:00:%02x", slices.Index(machineNames, name)+1)
}

// commandLimit is the time limit of a command on a machine.
const commandLimit = 40 * time.Second

// cluster is a set of machines on one hub.
type cluster struct {
	machines map[string]*remote.Machine
	ended    sync.WaitGroup
	mu       sync.Mutex
	failures map[string]error // of machines that crashed
}

// startCluster starts the machines and stops them when the test ends.
func startCluster(ctx context.Context, t *testing.T) *cluster {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}

	w := builder{root: root, cache: filepath.Join(root, ".cache", "vm")}
	unlock, err := w.lock(ctx)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(unlock)
	bin, err := w.binaries(ctx)
	if err != nil {
		t.Fatal(err)
	}

	all := &cluster{machines: map[string]*remote.Machine{}, failures: map[string]error{}}
	ethernet := &hub.Hub{}
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(func() {
		for _, m := range all.machines {
			_ = m.End()
		}
		time.AfterFunc(commandLimit, cancel)
		all.ended.Wait()
		cancel()
		if err := ethernet.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range machineNames {
		if err := all.start(ctx, w, ethernet, bin, name); err != nil {
			t.Fatal(err)
		}
	}

	return all
}

// start starts a machine and does not wait until it has booted.
func (all *cluster) start(ctx context.Context, w builder, ethernet *hub.Hub, bin, name string) error {
	j, err := w.newJob(name)
	if err != nil {
		return err
	}

	j.Remote, j.Env = true, append(j.Env, "PATH="+bin+":"+os.Getenv("PATH")+":/usr/sbin:/sbin", "CHECKOUT="+w.root)
	first, err := w.initramfs(j)
	if err != nil {
		return err
	}

	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return errors.Join(fmt.Errorf("socketpair: %w", err), first.Close())
	}

	p := &netDevice{remote: os.NewFile(uintptr(ends[1]), "remote"), mac: machineMAC(name)}
	if p.port, err = ethernet.AddPort(); err != nil {
		return errors.Join(err, first.Close())
	}

	all.machines[name] = remote.On(os.NewFile(uintptr(ends[0]), "remote"))
	m := machine{kernel: filepath.Join(w.kernel(), "vmlinuz"), first: first, accel: options{}.accelerator(),
		cpus: 1, memory: 1536, nic: p}
	all.ended.Go(func() {
		var out bytes.Buffer
		_, err := m.run(ctx, &out)
		all.mu.Lock()
		defer all.mu.Unlock()
		all.failures[name] = errors.Join(err, first.Close())
	})
	return nil
}

// run runs a command on a machine.
func (all *cluster) run(name string, args ...string) (remote.Reply, error) {
	r, err := all.machines[name].Run(commandLimit, args...)
	if err != nil {
		all.mu.Lock()
		defer all.mu.Unlock()
		err = fmt.Errorf("machine %s: %w", name, errors.Join(err, all.failures[name]))
	}
	return r, err
}

// must runs a command on a machine and fails the test if it does not succeed.
func (all *cluster) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	r, err := all.run(name, args...)
	if err == nil && r.Code != 0 {
		err = fmt.Errorf("exit code %d\n%s%s", r.Code, r.Out, r.Errs)
	}
	if err != nil {
		t.Fatalf("%s: %s: %v", name, strings.Join(args, " "), err)
	}
	return string(r.Out)
}

// equip configures the addresses of all machines, starts the agents and loads their images. The
// machines with an agent use DHCP. The server identifies them by client ID, because containers of
// ipvlan networks have the MAC address of their machine.
func (all *cluster) equip(t *testing.T, images map[string]string) {
	t.Helper()
	all.must(t, "lan", "sh", "-ec", `
ip link set eth0 up
ip addr add 192.168.50.1/24 dev eth0
ip addr add fd50::1/64 dev eth0 nodad
dnsmasq --conf-file=/dev/null --interface=eth0 --bind-interfaces --port=0 --leasefile-ro --no-ping \
  --dhcp-range=192.168.50.100,192.168.50.150,1h \
  --dhcp-host=id:01:`+machineMAC("one")+`,192.168.50.11 \
  --dhcp-host=id:01:`+machineMAC("two")+`,192.168.50.12`)
	var work sync.WaitGroup
	for i, name := range []string{"one", "two"} {
		work.Go(func() {
			r, err := all.run(name, "sh", "-ec", fmt.Sprintf(`
ip link set eth0 up
busybox udhcpc -i eth0 -n -q -s "$CHECKOUT/deploy/vm/testdata/lease.sh"
ip addr add fd50::1%d/64 dev eth0 nodad
mount -t tmpfs tmpfs /var/lib
fairlead-agent >/run/agent.log 2>&1 &
for i in $(seq 100); do
  if fairlead ps >/dev/null 2>&1; then break; fi
  sleep 0.2
done
for image in %s; do fairlead load -q -i $image; done`, i+1, strings.Join([]string{images["nginx"], images["busybox"]}, " ")))
			if err != nil || r.Code != 0 {
				t.Errorf("machine %s: %v, exit code %d\n%s%s", name, err, r.Code, r.Out, r.Errs)
			}
		})
	}

	work.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// imageFiles writes image archives that an agent can load and returns their paths.
func imageFiles(ctx context.Context, t *testing.T) map[string]string {
	t.Helper()
	cache := debimage.Cache{Dir: "../../.cache"}
	dir, err := filepath.Abs("../../.cache/vm")
	if err != nil {
		t.Fatal(err)
	}

	files := map[string]string{}
	builds := map[string]func(context.Context) (v1.Image, error){"nginx": cache.Nginx, "busybox": cache.Busybox}
	for image, build := range builds {
		img, err := build(ctx)
		if err != nil {
			t.Fatal(err)
		}
		tag, err := name.NewTag(image + ":latest")
		if err != nil {
			t.Fatal(err)
		}
		files[image] = filepath.Join(dir, image+".tar")
		if err := tarball.WriteToFile(files[image], tag, img); err != nil {
			t.Fatal(err)
		}
	}

	return files
}

// prepare downloads the kernel and builds the init process, like the script run.
func prepare(ctx context.Context, t *testing.T) {
	t.Helper()
	build := exec.CommandContext(ctx, "go", "build", "-o", "../../.cache/vm/", "./init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	for _, cmd := range []*exec.Cmd{exec.CommandContext(ctx, "./kernel.sh"), build} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
}
