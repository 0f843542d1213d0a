// Package e2e tells the project's stories, each in a file of testdata named for what it tells, to the built binaries: to the agent in
// one process, and again to the agent with a process for each service.
//
// Each story has a lab: a host with the agent and a registry on its loopback, and a client outside. Beside testscript's own words
// they use those of commands_test.go and some programs: fairlead is the command line with its agent set, host and client run a command
// on one of the two machines, inside runs one in a container's network, questions, flood and attack ask the resolver there, certify makes certificates, greeter and greet are a server and a client that tell which address the server sees.
// Those of testdata/families are told for networks with IPv4, with IPv6 and with both, and have the words of family_test.go, too.
package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// What a story tells fairlead, host and client.
const (
	binVar    = "LAB_BIN"
	hostVar   = "LAB_HOST"
	clientVar = "LAB_CLIENT"
)

func TestMain(m *testing.M) {
	lab.Init()
	testscript.Main(m, map[string]func(){
		"fairlead":   runFairlead,
		"host":       func() { runOn(host) },
		"client":     func() { runOn(client) },
		"inside":     func() { runOn(inside) },
		"attack":     attackResolver,
		"questions":  askQuestions,
		"flood":      floodQuestions,
		"greeter":    echoServer,
		"greet":      callEcho,
		"certify":    generateCerts,
		"greet-many": greetMany,
		"untouched":  untouched,
	})
}

func host() (*lab.Machine, error) {
	pid, err := strconv.Atoi(os.Getenv(hostVar))
	if err != nil {
		return nil, err
	}
	return lab.Inside(pid)
}

func client() (*lab.Machine, error) { return lab.On(os.Getenv(clientVar)) }

// inside is the network of the container that the first argument names, which it takes off.
func inside() (*lab.Machine, error) {
	out, err := exec.Command(os.Getenv(binVar)+"/fairlead", "inspect", "-f", "{{.NetworkSettings.SandboxKey}}", os.Args[1]).Output()
	if err != nil {
		return nil, fmt.Errorf("find the network of %s: %w", os.Args[1], err)
	}
	os.Args = append(os.Args[:1], os.Args[2:]...)
	return lab.On(fmt.Sprintf("/proc/%s/root%s", os.Getenv(hostVar), strings.TrimSpace(string(out))))
}

// runFairlead becomes the command line, so that signals and exit codes are its own.
func runFairlead() {
	path := os.Getenv(binVar) + "/fairlead"
	fmt.Fprintln(os.Stderr, syscall.Exec(path, append([]string{"fairlead"}, os.Args[1:]...), os.Environ()))
	os.Exit(1)
}

// runOn runs a command on a machine and passes signals and the exit code on. Signals go to its children too, as a terminal's do: a
// story that fails waits for what it left running.
func runOn(find func() (*lab.Machine, error)) {
	m, err := find()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	// By pipes of its own: a command that outlives this program must not keep the story waiting for the end of its output.
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, struct{ io.Writer }{os.Stdout}, struct{ io.Writer }{os.Stderr}
	cmd.Dir, _ = os.Getwd()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := m.Start(cmd); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		for s := range signals {
			_ = syscall.Kill(-cmd.Process.Pid, s.(syscall.Signal))
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(max(exit.ExitCode(), 1))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
