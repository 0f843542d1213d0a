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

// The machines on the wire. One and two have an agent each; lan is the LAN's router, has its DHCP server, and listens.
var wiredNames = []string{"lan", "one", "two"}

// wiredMAC is the hardware address of a machine's card.
func wiredMAC(name string) string {
	return fmt.Sprintf("52:54:00:00:00:%02x", slices.Index(wiredNames, name)+1)
}

// commandLimit bounds each command on a machine.
const commandLimit = 40 * time.Second

// wired are machines on one wire.
type wired struct {
	machines map[string]*remote.Machine
	ended    sync.WaitGroup
	mu       sync.Mutex
	troubles map[string]error // of machines that broke off
}

// startWired starts the machines, and takes them away when the test ends.
func startWired(ctx context.Context, t *testing.T) *wired {
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
	all := &wired{machines: map[string]*remote.Machine{}, troubles: map[string]error{}}
	cable := &hub.Hub{}
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(func() {
		for _, m := range all.machines {
			_ = m.End()
		}
		time.AfterFunc(commandLimit, cancel)
		all.ended.Wait()
		cancel()
		if err := cable.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range wiredNames {
		if err := all.start(ctx, w, cable, bin, name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// start starts one machine, and does not wait for it.
func (all *wired) start(ctx context.Context, w builder, cable *hub.Hub, bin, name string) error {
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
	p := &netDevice{remote: os.NewFile(uintptr(ends[1]), "remote"), mac: wiredMAC(name)}
	if p.wire, err = cable.AddPort(); err != nil {
		return errors.Join(err, first.Close())
	}
	all.machines[name] = remote.On(os.NewFile(uintptr(ends[0]), "ask"))
	m := machine{kernel: filepath.Join(w.kernel(), "vmlinuz"), first: first, accel: options{}.accelerator(), cpus: 1, memory: 1536, plug: p}
	all.ended.Go(func() {
		var said bytes.Buffer
		_, err := m.run(ctx, &said)
		all.mu.Lock()
		defer all.mu.Unlock()
		all.troubles[name] = errors.Join(err, first.Close())
	})
	return nil
}

// run runs a command on a machine.
func (all *wired) run(name string, args ...string) (remote.Reply, error) {
	r, err := all.machines[name].Run(commandLimit, args...)
	if err != nil {
		all.mu.Lock()
		defer all.mu.Unlock()
		err = fmt.Errorf("machine %s: %w", name, errors.Join(err, all.troubles[name]))
	}
	return r, err
}

// must runs a command on a machine, which must succeed.
func (all *wired) must(t *testing.T, name string, args ...string) string {
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

// equip gives each machine its addresses, those with an agent by DHCP, and the agents their images. The server knows machines by their
// client ids: containers of ipvlan networks have their machine's hardware address, and are not to be given its own address.
func (all *wired) equip(t *testing.T, images map[string]string) {
	t.Helper()
	all.must(t, "lan", "sh", "-ec", `
ip link set eth0 up
ip addr add 192.168.50.1/24 dev eth0
ip addr add fd50::1/64 dev eth0 nodad
dnsmasq --conf-file=/dev/null --interface=eth0 --bind-interfaces --port=0 --leasefile-ro --no-ping \
  --dhcp-range=192.168.50.100,192.168.50.150,1h --dhcp-host=id:01:`+wiredMAC("one")+`,192.168.50.11 --dhcp-host=id:01:`+wiredMAC("two")+`,192.168.50.12`)
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

// imageFiles are archives that an agent can load.
func imageFiles(ctx context.Context, t *testing.T) map[string]string {
	t.Helper()
	cache := debimage.Cache{Dir: "../../.cache"}
	dir, err := filepath.Abs("../../.cache/vm")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for image, build := range map[string]func(context.Context) (v1.Image, error){"nginx": cache.Nginx, "busybox": cache.Busybox} {
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

// prepare fetches the kernel and builds the machines' first process, as the script run does.
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
