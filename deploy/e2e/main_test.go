// Package e2e runs the end-to-end scripts of testdata against the built binaries, in all-in-one
// mode and in split mode.
//
// Each script has a lab: a host with the agent and a registry on its loopback, and a client. In
// addition to the commands of testscript there are those of commands_test.go, and these programs:
//
//	fairlead                  the command line, connected to the agent
//	host, client              run a command on one of the machines
//	inside                    runs a command in the network of a container
//	questions, flood, attack  send DNS queries from the network of a container
//	greeter, greet            a server that returns the address of its client, and a client
//	greet-many                connects to many greeters
//	certify                   writes certificates
//	untouched                 checks the directory that a hostile image attacked
//	cni                       calls CNI plugins with the library that containerd, CRI-O and podman use
//
// The scripts of testdata/families run for networks with IPv4, with IPv6 and with both. They also
// have the commands of family_test.go.
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

// Environment variables of the programs.
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
		"questions":  sendQueries,
		"flood":      floodQueries,
		"greeter":    echoServer,
		"greet":      callEcho,
		"certify":    generateCerts,
		"greet-many": greetMany,
		"untouched":  untouched,
		"journal":    fakeJournal,
		"cni":        runCNI,
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

// inside returns the network of the container in the first argument, and removes that argument.
func inside() (*lab.Machine, error) {
	fairlead := os.Getenv(binVar) + "/fairlead"
	out, err := exec.Command(fairlead, "inspect", "-f", "{{.NetworkSettings.SandboxKey}}", os.Args[1]).Output()
	if err != nil {
		return nil, fmt.Errorf("find the network of %s: %w", os.Args[1], err)
	}
	os.Args = append(os.Args[:1], os.Args[2:]...)
	return lab.On(fmt.Sprintf("/proc/%s/root%s", os.Getenv(hostVar), strings.TrimSpace(string(out))))
}

// runFairlead replaces the process with the command line, which then gets all signals.
func runFairlead() {
	path := os.Getenv(binVar) + "/fairlead"
	fmt.Fprintln(os.Stderr, syscall.Exec(path, append([]string{"fairlead"}, os.Args[1:]...), os.Environ()))
	os.Exit(1)
}

// runOn runs a command on a machine and forwards signals and the exit code. Signals go to the
// process group of the command, because a failed script waits for its background processes.
func runOn(find func() (*lab.Machine, error)) {
	m, err := find()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}

	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	// The command writes to pipes: otherwise the script would wait for one that outlives this
	// program.
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
