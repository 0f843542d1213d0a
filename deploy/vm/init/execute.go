package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/deploy/vm/internal/job"
)

// execute runs a command until it exits and reaps orphans meanwhile.
func execute(c job.Command, env []string, out *os.File) (int, error) {
	begin := time.Now()
	pid, err := start(c, env, out, out)
	if err != nil {
		return 1, err
	}

	code, err := await(pid)
	if err != nil {
		return 1, err
	}

	if c.Title != "" {
		word := "ok  "
		if code != 0 {
			word = "FAIL"
		}
		_, _ = fmt.Fprintf(out, "%s\t%s\t%.1fs\n", word, c.Title, time.Since(begin).Seconds())
	}

	return code, nil
}

// await waits until a process exits and reaps others.
func await(pid int) (code int, err error) {
	var status unix.WaitStatus
	for {
		ended, err := unix.Wait4(-1, &status, 0, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 1, err
		}
		if ended == pid {
			break
		}
	}

	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}

	return status.ExitStatus(), nil
}

// start starts a command in its cgroup and process group. It does not use os.Process.Wait, which
// conflicts with reaping all processes.
func start(c job.Command, env []string, out, errs *os.File) (int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer func() { _ = null.Close() }()
	cgroup, err := os.Open(commandCgroup)
	if err != nil {
		return 0, err
	}
	defer func() { _ = cgroup.Close() }()

	p, err := os.StartProcess(c.Args[0], c.Args, &os.ProcAttr{Dir: c.Dir, Env: env, Files: []*os.File{null, out, errs},
		Sys: &unix.SysProcAttr{Setpgid: true, UseCgroupFD: true, CgroupFD: int(cgroup.Fd())}})
	if err != nil {
		return 0, err
	}
	defer func() { _ = p.Release() }()
	return p.Pid, nil
}
