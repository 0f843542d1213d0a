package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// stageVar marks a program that was started as init process of a host. Its value is the host's
// directory.
const stageVar = "FAIRLEAD_LAB_INIT"

// keep is the message to the init process that keeps the directory, for a reboot.
const keep = "keep"

// Init must be called first in main or TestMain. It does not return in a program that was started
// as init process of a host.
func Init() {
	if dir := os.Getenv(stageVar); dir != "" {
		if err := runInit(dir); err != nil {
			fmt.Fprintln(os.Stderr, "lab:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// runInit creates the mounts, reports readiness, reaps orphans and exits at the end of its input.
// So the host does not outlive the process that created it.
func runInit(dir string) error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	if err := mountAll(dir); err != nil {
		return err
	}

	fmt.Println("ready")
	done := make(chan string, 1)
	go func() {
		word, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		_, _ = io.Copy(io.Discard, os.Stdin)
		done <- strings.TrimSpace(word)
	}()
	for {
		select {
		case <-children:
			reap(unix.WNOHANG)
		case word := <-done:
			return shutDown(dir, word == keep)
		}
	}
}

func reap(options int) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, options, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid == 0 {
			return
		}
	}
}

// shutDown kills the processes of the host, unmounts everything below its directory and removes it.
func shutDown(dir string, kept bool) error {
	names := append(cgroupsInUse(), agentCgroup(dir))
	_ = unix.Kill(-1, unix.SIGKILL)
	reap(0)
	if err := removeCgroups(names); err != nil {
		return err
	}

	points, err := mountsBelow(dir)
	if err != nil {
		return err
	}

	for _, p := range points {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", p, err)
		}
	}

	if kept {
		return os.RemoveAll(filepath.Join(dir, execRoot))
	}

	return os.RemoveAll(dir)
}

// mountsBelow returns the mount points below a directory, deepest first.
func mountsBelow(dir string) ([]string, error) {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}

	var points []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); strings.HasPrefix(f[1], dir+"/") {
			points = append(points, f[1])
		}
	}

	sort.Sort(sort.Reverse(sort.StringSlice(points)))
	return points, nil
}

// cniConfigurations is a directory whose content makes netagent keep settings of the host: packages
// such as podman's put files there.
const cniConfigurations = "/etc/cni/net.d"

// hide makes a directory of the machine empty in the lab, so that tests are independent of what is
// installed.
func hide(dir string) error {
	err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=64k")
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("hide %s: %w", dir, err)
	}
	return nil
}

// mountAll creates the mounts of the host: /proc, name files and cgroups that crun accepts.
func mountAll(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}

	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}

	for _, name := range []string{"hosts", "resolv.conf"} {
		if err := unix.Mount(filepath.Join(dir, "etc", name), "/etc/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind /etc/%s: %w", name, err)
		}
	}

	if err := hide(cniConfigurations); err != nil {
		return err
	}

	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("set lo up: %w: %s", err, out)
	}

	return mountHugetlb()
}
