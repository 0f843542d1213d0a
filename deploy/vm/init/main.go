// Command init is the init process of a test machine. It mounts the outer machine's files with a
// tmpfs overlay for writes, the mounts of a distribution and cgroup v2, runs its job, reports the
// status and turns the machine off.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/deploy/vm/internal/job"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init is for the machine of deploy/vm")
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Println("init:", err) // to the kernel's console; the status is missing then
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // the machine is started so that this ends it
}

func run() error {
	data, err := os.ReadFile("/" + job.File)
	if err != nil {
		return err
	}

	var j job.Job
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}

	if err := boot(j); err != nil {
		return err
	}

	out, err := port(job.OutputPort, os.O_WRONLY)
	if err != nil {
		return err
	}

	status, err := port(job.StatusPort, os.O_WRONLY)
	if err != nil {
		return err
	}

	worst := 0
	for _, c := range j.Commands {
		code, err := execute(c, j.Env, out)
		if err != nil {
			fmt.Fprintf(out, "%v\n", err)
		}
		if worst == 0 {
			worst = code
		}
	}

	if j.Remote {
		if err := serve(j.Env); err != nil {
			return err
		}
	}

	_, err = fmt.Fprint(status, job.Status(worst))
	return err
}

// port opens a serial port, whose file appears shortly after its driver is loaded.
func port(number, flags int) (*os.File, error) {
	pattern := fmt.Sprintf("/dev/vport*p%d", number)
	for range 500 {
		if found, _ := filepath.Glob(pattern); len(found) == 1 {
			return os.OpenFile(found[0], flags, 0)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, fmt.Errorf("no serial port %s", pattern)
}
