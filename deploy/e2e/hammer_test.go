package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// loopsVar sets how many loops `hammer` makes; `make hammer` makes 2,000.
const loopsVar = "FAIRLEAD_HAMMER"

// hammer N takes N containers whose processes live for 0 to 50 ms through their lives, eight at once, and changes how: run, stop, kill,
// restart, wait, start -a, rm and rm -f meet processes that are starting, alive, ending and gone. It fails if a command gives an error that
// Docker would not give, or an exit code that is not the process's.
func hammer(ts *testscript.TestScript, _ bool, args []string) {
	const clients = 8
	loops, err := strconv.Atoi(args[0])
	must(ts, err)
	if text := os.Getenv(loopsVar); text != "" {
		loops, err = strconv.Atoi(text)
		must(ts, err)
	}
	b := blows{bin: ts.Getenv(binVar) + "/fairlead", socket: of(ts).agent.Socket()}
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for client := range clients {
		all.Go(func() {
			for i := client; i < loops; i += clients {
				if err := b.strike(fmt.Sprintf("hammer%d", client), i/clients); err != nil {
					mu.Lock()
					errs = append(errs, fmt.Errorf("loop %d: %w", i, err))
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	must(ts, errors.Join(errs...))
}

// blows are commands that are given to an agent.
type blows struct{ bin, socket string }

// result is what came of a command.
type result struct {
	code     int
	out, err string
}

func (b blows) give(args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.bin, append([]string{"-H", b.socket}, args...)...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	r := result{cmd.ProcessState.ExitCode(), strings.TrimSpace(out.String()), strings.TrimSpace(stderr.String())}
	if _, exited := errors.AsType[*exec.ExitError](err); exited && ctx.Err() == nil {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), errors.Join(err, ctx.Err()), r.err)
	}
	return r, err
}

// want gives a command whose exit code is known.
func (b blows) want(code int, args ...string) error {
	r, err := b.give(args...)
	if err == nil && r.code != code {
		err = fmt.Errorf("%s: exit code %d, want %d: %s", strings.Join(args, " "), r.code, code, r.err)
	}
	return err
}

// strike takes one container through one of the lives.
func (b blows) strike(name string, way int) error {
	lifetime := fmt.Sprintf("sleep 0.%03d; exit 3", rand.IntN(51))
	quick := []string{"--name", name, "busybox", "sh", "-c", lifetime}
	pause := func() { time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) }
	switch way % 8 {
	case 0: // what is told has happened
		return errors.Join(b.want(3, append([]string{"run"}, quick...)...), b.want(0, "rm", name))
	case 1:
		return errors.Join(b.want(3, append([]string{"run", "--rm"}, quick...)...), b.want(1, "inspect", name))
	}
	if err := b.want(0, append([]string{"run", "-d"}, quick...)...); err != nil {
		return err
	}
	pause()
	switch way % 8 {
	case 2:
		return b.want(0, "rm", "-f", name)
	case 3:
		return errors.Join(b.want(0, "stop", "-t", "0", name), b.want(0, "rm", name))
	case 4:
		return errors.Join(b.kill(name), b.wait(name), b.want(0, "rm", name))
	case 5:
		return errors.Join(b.wait(name), b.want(3, "start", "-a", name), b.want(0, "rm", name))
	case 6:
		err := b.want(0, "restart", "-t", "1", name)
		pause()
		return errors.Join(err, b.want(0, "stop", name), b.want(0, "rm", name))
	}
	// Docker refuses to remove what runs; it may have ended meanwhile.
	r, err := b.give("rm", name)
	if err == nil && r.code != 0 && !strings.Contains(r.err, "container is running") {
		err = fmt.Errorf("rm: exit code %d: %s", r.code, r.err)
	}
	if err == nil && r.code != 0 {
		err = b.want(0, "rm", "-f", name)
	}
	return err
}

// kill may find that the process has ended, as in Docker.
func (b blows) kill(name string) error {
	r, err := b.give("kill", name)
	if err == nil && r.code != 0 && !strings.Contains(r.err, "is not running") {
		err = fmt.Errorf("kill: exit code %d: %s", r.code, r.err)
	}
	return err
}

// wait gives the process's exit code, or that of SIGKILL.
func (b blows) wait(name string) error {
	r, err := b.give("wait", name)
	if err == nil && (r.code != 0 || r.out != "3" && r.out != "137") {
		err = fmt.Errorf("wait: exit code %d, output %q: %s", r.code, r.out, r.err)
	}
	return err
}
