package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/terminal"
)

// shellTimeout limits each wait for the shell.
const shellTimeout = 20 * time.Second

// scene is the demonstration.
type scene struct {
	ctx   context.Context
	out   io.Writer
	bin   string
	lab   *lab.Lab
	agent *lab.Agent
}

// page is the page of nginx.
const page = "http://" + lab.HostIPv4 + ":8080/"

func (s *scene) play() error {
	steps := []func() error{
		func() error { return s.host("fairlead run --name nginx01 -d --rm -p 8080:80 nginx") },
		s.listening,
		func() error { return s.client("curl -s " + page) },
		func() error { return s.shell("fairlead exec -it nginx01 /bin/sh", "ifconfig", "exit") },
		func() error { return s.host("fairlead port nginx01") },
		func() error { return s.host("fairlead stop nginx01") },
		s.traces,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("%w\nThe agent said:\n%s", err, s.agent.Log())
		}
	}

	return nil
}

// listening waits until nginx accepts connections.
func (s *scene) listening() error {
	for deadline := time.Now().Add(shellTimeout); ; time.Sleep(20 * time.Millisecond) {
		_, err := s.lab.Client.Output(s.ctx, "curl", "-s", page)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// host runs a command on the host; client runs one on the client.
func (s *scene) host(line string) error   { return s.run("host#", s.lab.Host, line) }
func (s *scene) client(line string) error { return s.run("client$", s.lab.Client, line) }

func (s *scene) run(prompt string, on *lab.Machine, line string) error {
	fmt.Fprintf(s.out, "\n%s %s\n", prompt, line)
	cmd := s.command(line)
	cmd.Stdout, cmd.Stderr = s.out, s.out
	if err := on.Run(cmd); err != nil {
		return fmt.Errorf("%s: %w", line, err)
	}
	return nil
}

func (s *scene) command(line string) *exec.Cmd {
	args := strings.Fields(line)
	if args[0] == "fairlead" {
		args[0] = s.bin + "/fairlead"
	}
	cmd := exec.CommandContext(s.ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "FAIRLEAD_HOST="+s.agent.Socket(), "TERM=dumb")
	return cmd
}

// shell runs a command that starts a shell on a terminal and types a line at each prompt.
func (s *scene) shell(line string, lines ...string) error {
	fmt.Fprintf(s.out, "\nhost# %s\n", line)
	term, err := terminal.Start(s.command(line), quiet{s.out})
	if err != nil {
		return err
	}
	defer term.Close()

	for _, l := range lines {
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

// quiet removes the cursor position query of the shell, which the user's own terminal would answer.
type quiet struct{ out io.Writer }

func (q quiet) Write(p []byte) (int, error) {
	_, err := q.out.Write(bytes.ReplaceAll(p, []byte("\x1b[6n"), nil))
	return len(p), err
}

// traces prints and checks all places where something could remain.
func (s *scene) traces() error {
	say(s.out, "Nothing is left: no container, no veth, no element in the ports' map, no mount, no process but "+
		"the agent.")
	if err := s.agent.CheckLeftovers(s.ctx); err != nil {
		return err
	}

	for _, line := range []string{
		"fairlead ps -a",
		"ip -brief link",
		"nft list map inet fairlead dnat4_any",
		"ps -e -o pid,args",
	} {
		if err := s.host(line); err != nil {
			return err
		}
	}

	return nil
}
