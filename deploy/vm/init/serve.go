package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/deploy/vm/internal/job"
	"github.com/fairlead/fairlead/deploy/vm/internal/remote"
)

// exitNoStart is the shell's exit code for a command that cannot be started.
const exitNoStart = 127

// serve runs the requests of the serial port. Background processes of the commands keep running.
func serve(env []string) error {
	p, err := port(job.RemotePort, os.O_RDWR)
	if err != nil {
		return err
	}

	for _, e := range env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok { // where programs are looked for
			if err := os.Setenv("PATH", path); err != nil {
				return err
			}
		}
	}

	return remote.Serve(p, func(q remote.Request) remote.Reply {
		r, err := answer(q, env)
		if err != nil {
			r.Code, r.Errs = exitNoStart, fmt.Appendf(r.Errs, "%v\n", err)
		}
		return r
	})
}

// answer runs one command. Its output is written to files, because background processes would keep
// a pipe open.
func answer(q remote.Request, env []string) (r remote.Reply, err error) {
	path, err := exec.LookPath(q.Args[0])
	if err != nil {
		return r, err
	}

	var files [2]*os.File
	for i := range files {
		if files[i], err = os.CreateTemp("/run", "said"); err != nil {
			return r, err
		}
		defer func() { _ = files[i].Close() }()
		if err := os.Remove(files[i].Name()); err != nil {
			return r, err
		}
	}

	pid, err := start(job.Command{Dir: "/", Args: append([]string{path}, q.Args[1:]...)}, env, files[0], files[1])
	if err != nil {
		return r, err
	}

	late := time.AfterFunc(q.Limit, func() { _ = unix.Kill(-pid, unix.SIGKILL) })
	defer late.Stop()

	if r.Code, err = await(pid); err != nil {
		return r, err
	}

	for i, said := range []*[]byte{&r.Out, &r.Errs} {
		if *said, err = io.ReadAll(io.NewSectionReader(files[i], 0, 1<<20)); err != nil {
			return r, err
		}
	}

	return r, nil
}
