package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/deploy/vm/internal/job"
)

// mount is a mount, like a line of fstab.
type mount struct {
	source, target, fstype string
	flags                  uintptr
	options                string
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s: %w", m.target, err)
	}
	return nil
}

const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// kernelFS lists the mounts before the root file system.
var kernelFS = []mount{
	{"proc", "/proc", "proc", quiet, ""},
	{"sysfs", "/sys", "sysfs", quiet, ""},
	{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=755"},
}

// An overlay: the outer machine's files below a tmpfs for writes.
var rootFS = []mount{
	{job.HostTag, "/host", "9p", unix.MS_RDONLY, "trans=virtio,version=9p2000.L,msize=512000,cache=loose"},
	{"rw", "/rw", "tmpfs", 0, "size=80%"},
}

var overlay = mount{"root", "/root", "overlay", 0, "lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work"}

// distroFS lists the mounts of a distribution, and a tmpfs where overlays are mounted, which an
// overlay does not support.
var distroFS = []mount{
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=620,ptmxmode=000"},
	{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"mqueue", "/dev/mqueue", "mqueue", quiet, ""},
	{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
	{"tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", quiet, "nsdelegate"},
	{"bpf", "/sys/fs/bpf", "bpf", quiet, "mode=700"},
	{"securityfs", "/sys/kernel/security", "securityfs", quiet, ""},
}

func boot(j job.Job) error {
	if err := mountEach(kernelFS...); err != nil {
		return err
	}

	for _, m := range j.Modules {
		if err := load(m); err != nil {
			return err
		}
	}

	if err := mountEach(rootFS...); err != nil {
		return err
	}

	for _, dir := range []string{"/rw/upper", "/rw/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}

	if err := mountEach(overlay); err != nil {
		return err
	}

	if err := enterRoot(); err != nil {
		return err
	}

	if err := keepInSight(j.Checkout, func() error { return mountEach(distroFS...) }); err != nil {
		return err
	}

	for _, step := range []func(job.Job) error{linkModules, loadModules, nameMachine, delegateCgroups, startNetwork} {
		if err := step(j); err != nil {
			return err
		}
	}

	return nil
}

// keepInSight keeps a directory visible that f hides with a mount: a checkout can be below /tmp.
func keepInSight(dir string, f func() error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(fd) }()

	if err := f(); err != nil {
		return err
	}

	if _, err := os.Stat(dir); err == nil {
		return nil
	}

	return mount{fmt.Sprintf("/proc/self/fd/%d", fd), dir, "", unix.MS_BIND, ""}.do()
}

func mountEach(mounts ...mount) error {
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

func load(module string) error {
	f, err := os.Open(module)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
		return fmt.Errorf("load %s: %w", module, err)
	}
	return nil
}

// enterRoot switches to the overlay as root.
func enterRoot() error {
	for _, m := range kernelFS {
		if err := unix.Mount(m.target, "/root"+m.target, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", m.target, err)
		}
	}

	if err := os.Chdir("/root"); err != nil {
		return err
	}

	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}

	if err := unix.Chroot("."); err != nil {
		return err
	}

	if err := os.Chdir("/"); err != nil {
		return err
	}

	return unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, "") // as systemd has it
}

// linkModules links the modules to the path of modprobe, which the kernel calls.
func linkModules(j job.Job) error {
	if err := os.MkdirAll("/lib/modules", 0o755); err != nil {
		return err
	}
	link := filepath.Join("/lib/modules", filepath.Base(j.ModuleDir))
	if err := os.RemoveAll(link); err != nil {
		return err
	}
	return os.Symlink(j.ModuleDir, link)
}

// hostModules lists modules of hosts with Docker or a firewall. The kernel loads others on demand.
var hostModules = []string{"br_netfilter"}

// hubModules lists the network drivers of a machine on a hub.
var hubModules = []string{"virtio_net", "af_packet"}

func loadModules(j job.Job) error {
	modules := append([]string{"--all"}, hostModules...)
	if j.Remote {
		modules = append(modules, hubModules...)
	}
	if out, err := exec.Command("/sbin/modprobe", modules...).CombinedOutput(); err != nil {
		return fmt.Errorf("modprobe: %w: %s", err, out)
	}
	return nil
}

func nameMachine(j job.Job) error { return unix.Sethostname([]byte(j.Hostname)) }

// commandCgroup is the cgroup of the commands, like that of a systemd unit. The root cgroup has
// other rules.
const commandCgroup = "/sys/fs/cgroup/system.slice/vm.service"

// delegateCgroups enables the controllers that systemd enables, for the slice only.
func delegateCgroups(job.Job) error {
	if err := os.MkdirAll(commandCgroup, 0o755); err != nil {
		return err
	}
	for _, dir := range []string{"/sys/fs/cgroup", filepath.Dir(commandCgroup)} {
		if err := os.WriteFile(dir+"/cgroup.subtree_control", []byte("+cpuset +cpu +io +memory +pids"),
			0o644); err != nil {
			return err
		}
	}
	return nil
}

func startNetwork(job.Job) error {
	if out, err := exec.Command("/sbin/ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("set lo up: %w: %s", err, out)
	}
	return nil
}
