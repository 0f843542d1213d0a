package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/fairlead/fairlead/deploy/internal/debimage"
	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/registry"
	"github.com/fairlead/fairlead/deploy/internal/terminal"
)

// fleetHosts are the names of the hosts of the demonstration.
var fleetHosts = []string{"one", "two", "three"}

// fleetScene is the demonstration of a fleet.
type fleetScene struct {
	ctx    context.Context
	out    io.Writer
	bin    string
	hosts  []*lab.Lab
	agents []*lab.Agent
}

// showFleet creates three hosts on one LAN, runs the scene and removes everything.
func showFleet(ctx context.Context, out io.Writer) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("run as root: the demo creates namespaces and containers")
	}
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}

	say(out, "Building images of Debian's nginx and busybox, and three hosts of namespaces on one LAN.")
	images, err := fleetImages(ctx)
	if err != nil {
		return err
	}
	lan, err := lab.NewLAN(ctx)
	if err != nil {
		return err
	}
	defer lan.Close()
	s := &fleetScene{ctx: ctx, out: out, bin: bin}
	defer func() {
		for _, h := range s.hosts {
			err = errors.Join(err, h.Close())
		}
		say(out, "All three hosts are gone again, with all that was on them.")
	}()
	for n := range fleetHosts {
		if err := s.add(lan, images, n+1); err != nil {
			return err
		}
	}
	if err := s.play(); err != nil {
		for n, a := range s.agents {
			fmt.Fprintf(out, "\nLog of %s:\n%s\n", fleetHosts[n], a.Log())
		}
		return err
	}
	return nil
}

func fleetImages(ctx context.Context) (*registry.Registry, error) {
	cache := debimage.Cache{Dir: ".cache"}
	nginx, err := cache.NginxWithCurl(ctx)
	if err != nil {
		return nil, err
	}
	busybox, err := cache.Busybox(ctx)
	if err != nil {
		return nil, err
	}
	return registry.New(map[string]v1.Image{"library/nginx:latest": nginx, "library/busybox:latest": busybox})
}

// add starts host n with an agent and a registry.
func (s *fleetScene) add(lan *lab.LAN, images *registry.Registry, n int) error {
	host, err := lab.New(s.ctx)
	if err != nil {
		return err
	}
	s.hosts = append(s.hosts, host)
	if err := lan.Attach(s.ctx, host.Host, fmt.Sprintf("port%d", n), fmt.Sprintf("10.99.0.%d/24", n)); err != nil {
		return err
	}
	listener, err := host.Host.Listen("tcp", registryAddress)
	if err != nil {
		return err
	}
	images.Serve(listener) // until the program exits
	agent, err := host.NewAgent(s.bin, lab.AllInOne, map[string]any{"fleet-lease": "5s",
		"registry-mirrors": []string{"http://" + registryAddress}})
	if err != nil {
		return err
	}
	s.agents = append(s.agents, agent)
	return agent.Start(s.ctx)
}

func (s *fleetScene) play() error {
	say(s.out, "A fleet starts with one command, and each other host joins with one.")
	printed, err := s.run(1, "fairlead fleet init --name one --address 10.99.0.1")
	if err != nil {
		return err
	}
	for n := 2; n <= len(fleetHosts); n++ {
		token := strings.Fields(printed[strings.Index(printed, "flt1."):])[0]
		if _, err := s.run(n, "fairlead fleet join --name "+fleetHosts[n-1]+" "+token); err != nil {
			return err
		}
		if n < len(fleetHosts) {
			if printed, err = s.run(1, "fairlead fleet token"); err != nil {
				return err
			}
		}
	}

	for _, step := range []func() error{
		s.lines(1, "fairlead fleet ls"),
		s.lines(1, "fairlead network create -d overlay app", "fairlead run -d --name db --network app nginx"),
		s.lines(2, "fairlead network ls --filter driver=overlay",
			"fairlead run -d --name web --network app -p 8080:80 nginx", "fairlead exec web curl -s http://db/"),
		s.lines(1, "fairlead ps --fleet"),
		s.page,
		s.shell,
		func() error {
			say(s.out, "With three managers, the fleet survives the loss of any one of them.")
			return s.lines(1, "fairlead fleet promote two three")()
		},
		s.votes,
		s.lines(1, "fairlead fleet doctor"),
		s.lose,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// lines returns a step that runs commands on host n.
func (s *fleetScene) lines(n int, all ...string) func() error {
	return func() error {
		for _, line := range all {
			if _, err := s.run(n, line); err != nil {
				return err
			}
		}
		return nil
	}
}

func (s *fleetScene) command(n int, line string) *exec.Cmd {
	args := strings.Fields(line)
	if args[0] == "fairlead" {
		args[0] = s.bin + "/fairlead"
	}
	cmd := exec.CommandContext(s.ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "FAIRLEAD_HOST="+s.agents[n-1].Socket(), "TERM=dumb")
	return cmd
}

// run shows a command on host n with its output, and returns the output.
func (s *fleetScene) run(n int, line string) (string, error) {
	fmt.Fprintf(s.out, "\n%s# %s\n", fleetHosts[n-1], line)
	var copied strings.Builder
	cmd := s.command(n, line)
	cmd.Stdout = io.MultiWriter(s.out, &copied)
	cmd.Stderr = s.out
	if err := s.hosts[n-1].Host.Run(cmd); err != nil {
		return "", fmt.Errorf("%s: %w", line, err)
	}
	return copied.String(), nil
}

// page requests the page of the container on host two from host three.
func (s *fleetScene) page() error {
	const line = "curl -s -o /dev/null -w %{http_code} http://10.99.0.2:8080/"
	for deadline := time.Now().Add(shellTimeout); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err := s.hosts[2].Host.Output(s.ctx, "curl", "-s", "http://10.99.0.2:8080/"); err == nil {
			break
		}
	}
	_, err := s.run(3, line)
	fmt.Fprintln(s.out)
	return err
}

// shell runs a shell on another host, on a terminal.
func (s *fleetScene) shell() error {
	const line = "fairlead --node three run -it --rm --network app busybox"
	fmt.Fprintf(s.out, "\none# %s\n", line)
	term, err := terminal.Start(s.command(1, line+" sh"), quiet{s.out})
	if err != nil {
		return err
	}
	defer term.Close()
	for _, l := range []string{"ip -4 addr show eth0", "exit"} {
		if err := term.Expect("# ", shellTimeout); err != nil {
			return err
		}
		if err := term.Type(l + "\n"); err != nil {
			return err
		}
	}
	if code, err := term.Wait(shellTimeout); err != nil || code != 0 {
		return fmt.Errorf("%s: exit code %d, %v", line, code, err)
	}
	return nil
}

// votes waits until all three managers vote and answer.
func (s *fleetScene) votes() error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out, err := s.agents[0].CLI(s.ctx, "fleet", "doctor")
		if err == nil && strings.Contains(out, "3 of 3 answer") {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the managers do not vote: %s %w", out, err)
		}
	}
}

// lose kills everything of the fleet on the first host, and works on from the second one.
func (s *fleetScene) lose() error {
	say(s.out, "Host one is lost: its agent and its store are killed.")
	if err := s.agents[0].Stop(syscall.SIGKILL); err != nil {
		return err
	}
	for _, p := range s.hosts[0].Processes() {
		if strings.HasPrefix(p.Name, "fairlead-store") {
			_, _ = s.hosts[0].Host.Output(s.ctx, "kill", "-9", fmt.Sprint(p.Pid))
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out, _ := s.agents[1].CLI(s.ctx, "fleet", "ls", "--format", "{{.Name}}={{.State}}")
		if strings.Contains(out, "one=suspect") {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("host one is not suspect: %s", out)
		}
	}
	return s.lines(2, "fairlead fleet ls", "fairlead --node three run --rm busybox echo the fleet works on",
		"fairlead fleet token -q", "fairlead ps --fleet")()
}
