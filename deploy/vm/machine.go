package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/deploy/vm/internal/job"
)

// machine is a virtual machine.
type machine struct {
	kernel string
	first  *os.File // its first file system
	accel  string
	cpus   int
	memory int
	nic    *netDevice // nil: not on a hub
}

// netDevice is the network card of a machine on a hub.
type netDevice struct {
	port   *os.File // port of the hub
	remote *os.File // requests of package remote
	mac    string
}

// accelerator returns kvm if the processor supports it. The existence of /dev/kvm is not
// sufficient: nested in another machine it can hang.
func (o options) accelerator() string {
	if o.accel != "" {
		return o.accel
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	able := err == nil && (bytes.Contains(info, []byte(" vmx ")) || bytes.Contains(info, []byte(" svm ")))
	if able && unix.Access("/dev/kvm", unix.R_OK|unix.W_OK) == nil {
		return "kvm"
	}
	return "tcg"
}

// Descriptors that qemu inherits, in order: first file system, console, output and status.
const (
	firstFd = iota + 3
	consoleFd
	outputFd
	statusFd
	hubFd // only for a machine on a hub
	remoteFd
)

func (m machine) args() []string {
	accel := m.accel
	if accel == "tcg" {
		accel = "tcg,thread=multi"
	}

	args := []string{"-accel", accel, "-cpu", "max", "-smp", fmt.Sprint(m.cpus), "-m", fmt.Sprint(m.memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", m.kernel, "-initrd", fmt.Sprintf("/proc/self/fd/%d", firstFd),
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off cgroup_no_v1=all random.trust_cpu=on " +
			"rcupdate.rcu_expedited=1",
		"-fsdev", "local,id=root,path=/,security_model=passthrough,multidevs=remap,readonly=on",
		"-device", "virtio-9p-pci,fsdev=root,mount_tag=" + job.HostTag,
		"-device", "virtio-serial-pci"}
	args = append(args, channel("console", consoleFd)...)
	args = append(args, channel("output", outputFd)...)
	args = append(args, channel("status", statusFd)...)
	args = append(args, "-serial", "chardev:console",
		"-device", fmt.Sprintf("virtserialport,chardev=output,nr=%d", job.OutputPort),
		"-device", fmt.Sprintf("virtserialport,chardev=status,nr=%d", job.StatusPort))
	if m.nic == nil {
		return args
	}

	return append(args, "-netdev", fmt.Sprintf("socket,id=wire,fd=%d", hubFd),
		"-device", "virtio-net-pci,netdev=wire,romfile=,mac="+m.nic.mac,
		"-chardev", fmt.Sprintf("socket,id=remote,fd=%d", remoteFd),
		"-device", fmt.Sprintf("virtserialport,chardev=remote,nr=%d", job.RemotePort))
}

// channel returns the qemu options that connect a descriptor to a serial port.
func channel(id string, fd int) []string {
	return []string{"-add-fd", fmt.Sprintf("fd=%d,set=%d", fd, fd), "-chardev",
		fmt.Sprintf("file,id=%s,path=/dev/fdset/%d,append=on", id, fd)}
}

// run starts the machine, copies its output and returns the exit code of its status. The machine is
// killed when ctx is done or this process exits.
func (m machine) run(ctx context.Context, out io.Writer) (int, error) {
	runtime.LockOSThread() // the kernel kills the machine with the thread that started it
	defer runtime.UnlockOSThread()
	var console tail
	var status, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", m.args()...)
	cmd.Stderr = &complaints
	cmd.ExtraFiles = []*os.File{m.first}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var copies sync.WaitGroup
	for _, w := range []io.Writer{&console, out, &status} {
		r, end, err := os.Pipe()
		if err != nil {
			return exitTrouble, err
		}
		defer func() { _ = end.Close() }()
		cmd.ExtraFiles = append(cmd.ExtraFiles, end)
		copies.Go(func() {
			_, _ = io.Copy(w, r)
			_ = r.Close()
		})
	}

	if m.nic != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, m.nic.port, m.nic.remote)
	}

	err := cmd.Start()
	for _, end := range cmd.ExtraFiles[1:] {
		_ = end.Close()
	}

	if err == nil {
		err = cmd.Wait()
	}

	copies.Wait()
	if err := errors.Join(err, context.Cause(ctx)); err != nil {
		return exitTrouble, fmt.Errorf("%w\n%s%s", err, complaints.String(), console.text())
	}

	code, ok := job.ParseStatus(status.String())
	if !ok {
		return exitTrouble, fmt.Errorf("the machine crashed:\n%s%s", complaints.String(), console.text())
	}

	return code, nil
}

// tail keeps the last bytes that are written to it.
type tail struct{ data []byte }

// tailSize fits the last messages of a kernel.
const tailSize = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if len(t.data) > 2*tailSize {
		t.data = append([]byte(nil), t.data[len(t.data)-tailSize:]...)
	}
	return len(p), nil
}

func (t *tail) text() string { return strings.ReplaceAll(string(t.data), "\r", "") }
