package command_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/ctl/internal/command"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// now is the current time in all tests.
var now = time.Unix(1_790_000_000, 0)

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }

// row is a command line with the responses of the agent and the expected output.
type row struct {
	args   string
	stdin  string
	env    map[string]string
	script clienttest.Script

	requests []proto.Message // first request of each call; nil: not checked
	stdout   string
	stderr   string
	code     int
}

// result is the output of a finished command line.
type result struct {
	stdout, stderr string
	code           int
	requests       []proto.Message
}

// words splits a command line at spaces. A part in single quotes is one word.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

func execute(t *testing.T, r row) result {
	t.Helper()
	agent, host := clienttest.Serve(t, r.script)
	var stdout, stderr bytes.Buffer
	c := newCLI(t, r.env, strings.NewReader(r.stdin), &stdout, &stderr, host)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code := command.Run(ctx, c, words(r.args))
	return result{stdout.String(), stderr.String(), code, agent.Requests()}
}

func newCLI(t *testing.T, env map[string]string, in io.Reader, out, err io.Writer, host string) *cli.CLI {
	t.Helper()
	vars := map[string]string{cli.EnvHost: host, "DOCKER_CONFIG": t.TempDir()}
	for k, v := range env {
		vars[k] = v
	}
	return &cli.CLI{In: in, Out: out, Err: err, Interrupts: &cli.Interrupts{}, Now: func() time.Time { return now },
		LookupEnv: func(k string) (string, bool) { v, ok := vars[k]; return v, ok }}
}

func check(t *testing.T, r row) {
	t.Helper()

	got := execute(t, r)
	if got.stdout != r.stdout || got.stderr != r.stderr || got.code != r.code {
		t.Errorf("fairlead %s\nstdout %q\n  want %q\nstderr %q\n  want %q\ncode %d, want %d", r.args, got.stdout,
			r.stdout, got.stderr, r.stderr,
			got.code, r.code)
	}

	if r.requests == nil {
		return
	}
	if len(got.requests) != len(r.requests) {
		t.Fatalf("fairlead %s: %d requests, want %d: %v", r.args, len(got.requests), len(r.requests), got.requests)
	}

	for i, want := range r.requests {
		if !proto.Equal(got.requests[i], want) {
			t.Errorf("fairlead %s\nrequest %s\n   want %s", r.args, prototext.Format(got.requests[i]),
				prototext.Format(want))
		}
	}
}

func checkAll(t *testing.T, rows []row) {
	for _, r := range rows {
		t.Run(r.args, func(t *testing.T) { check(t, r) })
	}
}

// inDir writes files to a temporary directory and makes it the working directory of the test.
func inDir(t *testing.T, files map[string]string) string {
	t.Helper()

	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}

	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	t.Chdir(dir)
	return dir
}

// Events of a run.

func runStarted(id string, warnings ...string) proto.Message {
	return &containerv1.RunContainerResponse{Event: &containerv1.RunContainerResponse_Started{
		Started: &containerv1.Started{Id: id, Warnings: warnings}}}
}

func runProgress(step, subject string) proto.Message {
	return &containerv1.RunContainerResponse{Event: &containerv1.RunContainerResponse_Progress{
		Progress: &containerv1.Progress{Step: step, Subject: subject}}}
}

func runExited(code uint32) proto.Message {
	return &containerv1.RunContainerResponse{
		Event: &containerv1.RunContainerResponse_Exited{Exited: &containerv1.Exited{ExitCode: code}},
	}
}

func runOutput(text string) proto.Message {
	return &containerv1.RunContainerResponse{Event: &containerv1.RunContainerResponse_Output{Output: stdoutOf(text)}}
}

func stdoutOf(text string) *containerv1.Output {
	return &containerv1.Output{Stream: containerv1.StreamKind_STREAM_KIND_STDOUT, Data: []byte(text)}
}

func stderrOf(text string) *containerv1.Output {
	return &containerv1.Output{Stream: containerv1.StreamKind_STREAM_KIND_STDERR, Data: []byte(text)}
}

// buffer is a bytes.Buffer for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// eventually waits until a condition is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 2000 {
		if is() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("not within ten seconds: ", what)
}

// await waits for a value on a channel.
func await[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("not within twenty seconds: ", what)
		panic("unreachable")
	}
}
