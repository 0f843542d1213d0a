package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/terminal"
)

// found creates a fleet of all hosts: one, two, three. The first one is the manager.
func (f *fleet) found() {
	f.t.Helper()
	f.joinAll(f.run(1, "fleet init --name one --address 10.99.0.1"))
}

// joinAll makes all other hosts join with the command that init has printed.
func (f *fleet) joinAll(printed string) {
	f.t.Helper()
	join := joinCommand.FindStringSubmatch(printed)
	if join == nil {
		f.t.Fatalf("init prints no command to join: %s", printed)
	}
	for n := 2; n <= len(f.hosts); n++ {
		name := []string{"", "one", "two", "three", "four"}[n]
		f.run(n, join[1]+" --name "+name)
		join[1] = "fleet join " + f.run(1, "fleet token -q")
	}
}

// command returns a command line for host n, which is started by the caller.
func (f *fleet) command(n int, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(f.ctx, filepath.Join(f.bin, "fairlead"),
		append([]string{"-H", f.agents[n-1].Socket()}, args...)...)
	cmd.Env = append(os.Environ(), "TERM=xterm")
	return cmd
}

// exitCode runs a command on host n and returns its exit code, with its output.
func (f *fleet) exitCode(n int, input string, args ...string) (int, string) {
	f.t.Helper()
	cmd := f.command(n, args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	err := f.hosts[n-1].Host.Run(cmd)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String()
	}
	if err != nil {
		f.t.Fatalf("%v: %v\n%s", args, err, out.String())
	}
	return 0, out.String()
}

func TestCommandsReachOtherHosts(t *testing.T) {
	for _, mode := range []lab.DeployMode{lab.AllInOne, lab.Split} {
		t.Run(string(mode), func(t *testing.T) {
			needPrograms(t, "crun", "conmon")
			f := newFleet(t, mode, 3)
			f.serveImages()
			f.found()

			f.processes()
			f.lists()
			f.person()
			f.commandsRefused()
		})
	}
}

// processes runs processes on another host, with input, signals, exit codes and a terminal.
func (f *fleet) processes() {
	f.t.Helper()
	code, out := f.exitCode(1, "", "--node", "two", "run", "--rm", "--network", "host", "busybox", "sh", "-c",
		"ip -4 addr show lan0; exit 7")
	if code != 7 || !strings.Contains(out, "10.99.0.2/24") {
		f.t.Errorf("run on host two: got exit code %d, output %q", code, out)
	}
	if code, out := f.exitCode(1, "words\n", "--node", "two", "run", "-i", "--rm", "busybox", "cat"); code != 0 ||
		!strings.HasSuffix(out, "words\n") {
		f.t.Errorf("input of a process: got exit code %d, output %q", code, out)
	}

	f.interrupt()
	term, err := terminal.Start(f.command(1, "--node", "two", "run", "-it", "--rm", "busybox", "sh"), io.Discard)
	if err != nil {
		f.t.Fatal(err)
	}
	defer term.Close()
	for _, step := range []error{term.Resize(33, 77), term.Expect("# ", waitLimit), term.Type("stty size\n"),
		term.Expect("33 77", waitLimit), term.Type("exit 3\n")} {
		if step != nil {
			f.t.Fatalf("terminal: %v\n%s", step, term.Shown())
		}
	}
	if code, err := term.Wait(waitLimit); err != nil || code != 3 {
		f.t.Errorf("terminal: got exit code %d, error %v", code, err)
	}
}

// interrupt ends a process on another host with the signal of Ctrl-C.
func (f *fleet) interrupt() {
	f.t.Helper()
	cmd := f.command(1, "--node", "two", "run", "--rm", "--name", "long", "busybox", "sh", "-c",
		"trap 'exit 9' INT; echo begun; while :; do sleep 0.1; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.hosts[0].Host.Start(cmd); err != nil {
		f.t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("begun\n"))); err != nil {
		f.t.Fatal(err)
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 9 {
		f.t.Errorf("interrupted process: got %v, want exit code 9", err)
	}
	f.await(1, "--node two ps -q", "")
}

// lists lists the containers and the events of all hosts.
func (f *fleet) lists() {
	f.t.Helper()
	const names = "ps --fleet --format {{.Node}}/{{.Names}}"
	f.run(1, "--node two run -d --name web busybox sleep 1000")
	f.run(1, "run -d --name db busybox sleep 1000")
	f.await(1, names, "one/db\ntwo/web")
	f.await(1, "--node two ps --format {{.Node}}/{{.Names}}", "two/web")
	f.await(1, "--node one ps --format {{.Names}}", "db")
	f.await(1, "--node two fleet inspect --format {{.HostName}},{{.Role}}", "two,member")
	if out := f.run(1, "--node two config show"); !strings.Contains(out, f.agents[1].DataRoot()) {
		f.t.Errorf("got the configuration of another host:\n%s", out)
	}

	f.eventsOfAll()

	if err := f.lan.Cut(f.ctx, "port3"); err != nil {
		f.t.Fatal(err)
	}
	out := f.run(1, names)
	if !strings.Contains(out, "WARNING: host three: does not answer at 10.99.0.3") ||
		!strings.Contains(out, "two/web\n") {
		f.t.Errorf("with a lost host: got %q", out)
	}
	f.refuse(1, "--node three ps", "host three: ")
	if err := f.lan.Connect(f.ctx, "port3"); err != nil {
		f.t.Fatal(err)
	}
	f.await(1, "--node three ps -q", "")
}

// eventsOfAll reads the events of all hosts until all that are wanted have come.
func (f *fleet) eventsOfAll() {
	f.t.Helper()
	cmd := f.command(1, "events", "--fleet", "--since", "1h", "--filter", "type=container",
		"--format", "{{.Node}} {{.Action}} {{.Actor.Attributes.name}}")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = f.hosts[0].Host.Start(cmd)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	f.run(1, "--node three run --rm --name job busybox true")
	missing := map[string]bool{"two start web": true, "one start db": true, "three destroy job": true}
	for lines := bufio.NewScanner(out); len(missing) > 0; delete(missing, lines.Text()) {
		if !lines.Scan() { // the test's time is over
			f.t.Fatalf("events of all hosts: got none of %v", missing)
		}
	}
}

// person commands hosts from another machine, with a certificate of the fleet.
func (f *fleet) person() {
	f.t.Helper()
	dir := f.t.TempDir() + "/anna"
	f.run(1, "fleet certificate anna -o "+dir)
	ask := func(address string, args ...string) (string, error) {
		files := []string{"-H", address, "--tlsverify", "--tlscacert", dir + "/ca.pem", "--tlscert", dir + "/cert.pem",
			"--tlskey", dir + "/key.pem"}
		return f.hosts[2].Host.Output(f.ctx, filepath.Join(f.bin, "fairlead"), append(files, args...)...)
	}
	out, err := ask("tcp://10.99.0.1:7450", "--node", "two", "ps", "--format", "{{.Node}}/{{.Names}}")
	if err != nil || out != "two/web\n" {
		f.t.Errorf("person: got %q, error %v", out, err)
	}
	if out, err := ask("tcp://10.99.0.1:7450", "ps", "--fleet", "-q"); err != nil || strings.Count(out, "\n") != 2 {
		f.t.Errorf("person lists all hosts: got %q, error %v", out, err)
	}
	if out, err := ask("tcp://10.99.0.2:7450", "ps"); err == nil || !strings.Contains(out, "accepts managers only") {
		f.t.Errorf("person on a member: got %q, error %v", out, err)
	}
	f.run(1, "fleet certificate --revoke anna")
	for {
		out, err := ask("tcp://10.99.0.1:7450", "ps")
		if err != nil && strings.Contains(out, "was revoked or replaced") {
			break
		}
		if f.ctx.Err() != nil {
			f.t.Fatalf("revoked: got %q, error %v", out, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for n := 1; n <= 3; n++ {
		f.run(n, "fleet doctor")
	}
}

// commandsRefused runs commands that are refused.
func (f *fleet) commandsRefused() {
	f.t.Helper()
	f.refuse(1, "--node four ps", "host four: is not part of the fleet")
	f.refuse(1, "--node Two/x ps", "is not the name or ID of a host")
	f.refuse(1, "--node two ps --fleet", "cannot be combined with --fleet")
	f.refuse(2, "--node three ps", "host two: is not a manager, and cannot command other hosts")
	f.refuse(2, "ps --fleet", "host two: is not a manager, and cannot command other hosts")
	f.run(1, "fleet rm --force three")
	f.refuse(1, "--node three ps", "host three: is not part of the fleet")
}
