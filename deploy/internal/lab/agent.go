package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/agent/test/testsystemd"
)

// DeployMode is a deployment mode of the agent.
type DeployMode string

// Deployment modes.
const (
	AllInOne DeployMode = "one"   // one process with all services
	Split    DeployMode = "split" // one process for each service
)

// Roots of the agent below the lab's directory.
const (
	dataRoot = "d"
	execRoot = "e"
)

// ready limits the start and the stop of the agent.
const ready = time.Minute

// services returns the services of a deployment mode in start order. The empty name means all
// services.
func (s DeployMode) services() []string {
	if s == Split {
		return []string{"net", "nat", "dns", "fleet", "supervisor", "engine"}
	}
	return []string{""}
}

// Agent is the agent on the host. All its files are in the lab's directory.
type Agent struct {
	lab       *Lab
	bin       string
	shape     DeployMode
	processes map[string]*process
	managers  map[string]*testsystemd.Manager // by service; nil: no service manager
}

// process is a process of the agent.
type process struct {
	cmd  *exec.Cmd
	log  buffer
	done chan struct{}
}

// NewAgent returns an agent with the binaries of a directory. The keys are added to its
// configuration file.
func (l *Lab) NewAgent(bin string, shape DeployMode, keys map[string]any) (*Agent, error) {
	a := &Agent{lab: l, bin: bin, shape: shape, processes: map[string]*process{}}
	config := map[string]any{
		"data-root": a.DataRoot(), "exec-root": a.ExecRoot(), "hosts": []string{a.Socket()}, "log-level": "debug",
	}
	maps.Copy(config, keys)
	data, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return nil, err
	}
	return a, os.WriteFile(a.configFile(), data, 0o644)
}

func (a *Agent) configFile() string { return filepath.Join(a.lab.Dir, "daemon.json") }

// DataRoot returns the directory of persistent state.
func (a *Agent) DataRoot() string { return filepath.Join(a.lab.Dir, dataRoot) }

// ExecRoot returns the directory of runtime files.
func (a *Agent) ExecRoot() string { return filepath.Join(a.lab.Dir, execRoot) }

// Socket returns the agent's address for -H or FAIRLEAD_HOST.
func (a *Agent) Socket() string { return "unix://" + filepath.Join(a.lab.Dir, "s") }

// Services returns the names of the agent's processes. In all-in-one mode it is the empty name.
func (a *Agent) Services() []string { return a.shape.services() }

// Manage starts a service manager with an fd store for each process that is started later.
func (a *Agent) Manage() error {
	a.managers = map[string]*testsystemd.Manager{}
	for _, service := range a.Services() {
		dir, err := os.MkdirTemp(a.lab.Dir, "m")
		if err != nil {
			return err
		}
		if a.managers[service], err = testsystemd.Start(dir); err != nil {
			return err
		}
	}
	return nil
}

// Unmanage stops the service managers.
func (a *Agent) Unmanage() error {
	var errs []error
	for _, m := range a.managers {
		errs = append(errs, m.Close())
	}
	a.managers = nil
	return errors.Join(errs...)
}

// Start starts the processes that are not running and waits until the agent serves a client.
func (a *Agent) Start(ctx context.Context, extra ...string) error {
	for _, service := range a.Services() {
		if a.processes[service] == nil {
			if err := a.start(service, extra); err != nil {
				return err
			}
		}
	}
	return a.wait(ctx)
}

func (a *Agent) start(service string, extra []string) error {
	args := []string{"--config-file", a.configFile()}
	if service != "" {
		args = append([]string{service}, args...)
	}

	p := &process{cmd: exec.Command(filepath.Join(a.bin, "fairlead-agent"), append(args, extra...)...),
		done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	// The agent does not inherit the environment of the tests.
	p.cmd.Env = slices.DeleteFunc(os.Environ(),
		func(entry string) bool { return strings.HasPrefix(entry, "FAIRLEAD_") })
	if m := a.managers[service]; m != nil {
		started, err := m.Prepare(p.cmd)
		if err != nil {
			return err
		}
		defer started()
	}

	if err := a.lab.Host.Start(p.cmd); err != nil {
		return err
	}

	a.processes[service] = p
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()

	return nil
}

// wait waits until the agent serves a client or a process exits.
func (a *Agent) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ready)
	defer cancel()

	for {
		out, err := a.CLI(ctx, "ps")
		if err == nil {
			return nil
		}
		for _, p := range a.processes {
			select {
			case <-p.done:
				return fmt.Errorf("the agent ended:\n%s", a.Log())
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the agent does not serve: %w\n%s\n%s", err, out, a.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Refused starts the processes, waits until one of them exits, stops the others and returns the log
// of that one.
func (a *Agent) Refused(ctx context.Context, extra ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, ready)
	defer cancel()

	for _, service := range a.Services() {
		if a.processes[service] == nil {
			if err := a.start(service, extra); err != nil {
				return "", err
			}
		}
	}

	for {
		for _, p := range a.processes {
			select {
			case <-p.done:
				return p.log.String(), a.Stop(syscall.SIGTERM)
			default:
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no process of the agent has ended:\n%s", a.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Program returns the path of the fairlead command.
func (a *Agent) Program() string { return filepath.Join(a.bin, "fairlead") }

// CLI runs the fairlead command on the host and returns its output.
func (a *Agent) CLI(ctx context.Context, args ...string) (string, error) {
	return a.lab.Host.Output(ctx, a.Program(), append([]string{"-H", a.Socket()}, args...)...)
}

// Stop sends a signal to the given processes of the agent, or to all, and waits until they exit.
func (a *Agent) Stop(signal syscall.Signal, services ...string) error {
	if len(services) == 0 {
		services = slices.Sorted(maps.Keys(a.processes))
	}

	var errs []error
	for _, service := range services {
		if a.shape == AllInOne {
			service = ""
		}
		p := a.processes[service]
		if p == nil {
			continue
		}
		delete(a.processes, service)
		_ = p.cmd.Process.Signal(signal)
		select {
		case <-p.done:
		case <-time.After(ready):
			_ = p.cmd.Process.Kill()
			errs = append(errs,
				fmt.Errorf("fairlead-agent %s: still there %s after %s:\n%s", service, ready, signal, p.log.String()))
		}
	}

	return errors.Join(errs...)
}

// Log returns the log of the running processes.
func (a *Agent) Log() string {
	var b strings.Builder
	for _, service := range a.Services() {
		if p := a.processes[service]; p != nil {
			fmt.Fprintf(&b, "--- fairlead-agent %s\n%s", service, p.log.String())
		}
	}
	return b.String()
}

// CPU returns the processor time of the running processes.
func (a *Agent) CPU() (time.Duration, error) {
	var all time.Duration
	for _, p := range a.processes {
		took, err := cpuOf(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			return 0, err
		}
		all += took
	}

	return all, nil
}
