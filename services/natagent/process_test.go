package natagent_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent"
)

// environment makes this test binary run as natagent; its value is the data root.
const agentVariable = "NATAGENT_TEST_DATA_ROOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(agentVariable); root != "" {
		beAgent(root)
	}
	os.Exit(m.Run())
}

// beAgent runs a natagent until it is killed.
func beAgent(root string) {
	s, err := natagent.New(context.Background(), natagent.Config{DataRoot: root, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // closed when the test exits
			os.Exit(0)
		}()
		err = publishWhenReady(s)
	}
	fmt.Println(err)
	os.Exit(1)
}

func publishWhenReady(s *natagent.Service) error {
	return s.Run(context.Background(), func() {
		r := &running{Service: s, rpcs: rpcsOf(s)}
		got, err := publish(r, request("a", "10.10.1.2", "", "8080:80", "53:5000/udp"))
		fmt.Println("published", got, err)
	})
}

// agentProcess starts a natagent in a separate process. kill sends SIGKILL.
func agentProcess(t *testing.T, n *testns.NS, root string) (said string, kill func()) {
	t.Helper()
	cmd := n.Command(context.Background(), os.Args[0])
	cmd.Env = append(os.Environ(), agentVariable+"="+root)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}

	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = stdin.Close()
	}

	t.Cleanup(kill)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}

	return strings.TrimSpace(line), kill
}
