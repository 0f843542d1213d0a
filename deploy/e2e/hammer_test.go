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

// loopsVar sets the number of containers of the command hammer; `make hammer` uses 2,000.
const loopsVar = "FAIRLEAD_HAMMER"

// hammer N runs N containers, eight concurrently, whose processes exit after 0 to 50 ms. The
// commands run, stop, kill, restart, wait, start -a, rm and rm -f meet processes that are starting,
// running, exiting or gone. It fails if a command returns an error that Docker would not return, or
// an exit code that is not that of the process.
func hammer(ts *testscript.TestScript, _ bool, args []string) {
	const clients = 8
	loops, err := strconv.Atoi(args[0])
	must(ts, err)
	if text := os.Getenv(loopsVar); text != "" {
		loops, err = strconv.Atoi(text)
		must(ts, err)
	}

	b := hammerCLI{bin: ts.Getenv(binVar) + "/fairlead", socket: of(ts).agent.Socket()}
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for client := range clients {
		all.Go(func() {
			for i := client; i < loops; i += clients {
				if err := b.cycle(fmt.Sprintf("hammer%d", client), i/clients); err != nil {
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

// hammerCLI runs commands of one agent.
type hammerCLI struct{ bin, socket string }

// result is the result of a command.
type result struct {
	code     int
	out, err string
}

func (b hammerCLI) run(args ...string) (result, error) {
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

// want runs a command and checks its exit code.
func (b hammerCLI) want(code int, args ...string) error {
	r, err := b.run(args...)
	if err == nil && r.code != code {
		err = fmt.Errorf("%s: exit code %d, want %d: %s", strings.Join(args, " "), r.code, code, r.err)
	}
	return err
}

// cycle creates, uses and removes one container, in one of eight ways.
func (b hammerCLI) cycle(name string, way int) error {
	lifetime := fmt.Sprintf("sleep 0.%03d; exit 3", rand.IntN(51))
	quick := []string{"--name", name, "busybox", "sh", "-c", lifetime}
	pause := func() { time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) }
	switch way % 8 {
	case 0: // run returns after the exit
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

	// Docker does not remove a running container, but this one can have exited.
	r, err := b.run("rm", name)
	if err == nil && r.code != 0 && !strings.Contains(r.err, "container is running") {
		err = fmt.Errorf("rm: exit code %d: %s", r.code, r.err)
	}

	if err == nil && r.code != 0 {
		err = b.want(0, "rm", "-f", name)
	}

	return err
}

// kill accepts the error for a process that has exited, as Docker returns it.
func (b hammerCLI) kill(name string) error {
	r, err := b.run("kill", name)
	if err == nil && r.code != 0 && !strings.Contains(r.err, "is not running") {
		err = fmt.Errorf("kill: exit code %d: %s", r.code, r.err)
	}
	return err
}

// wait checks that the command wait prints the exit code of the process or of SIGKILL.
func (b hammerCLI) wait(name string) error {
	r, err := b.run("wait", name)
	if err == nil && (r.code != 0 || r.out != "3" && r.out != "137") {
		err = fmt.Errorf("wait: exit code %d, output %q: %s", r.code, r.out, r.err)
	}
	return err
}
