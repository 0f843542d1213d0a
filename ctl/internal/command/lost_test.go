package command_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/ctl/internal/command"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// agentDiesIn runs a command and kills the agent when the call is established: after the output
// "x", if there is one.
func agentDiesIn(t *testing.T, args, method string, answers ...proto.Message) result {
	t.Helper()

	standing := make(chan struct{}, 1)
	serve := clienttest.Call{Serve: func(_ proto.Message, s clienttest.Stream) error {
		for _, a := range answers {
			if err := s.Send(a); err != nil {
				return err
			}
		}
		select {
		case standing <- struct{}{}:
		default:
		}
		<-s.Context().Done()
		return s.Context().Err()
	}}
	running := clienttest.Answers(&containerv1.GetContainerResponse{Container: &containerv1.Container{Id: "c1",
		Status: containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING, Config: &containerv1.ContainerConfig{}}})
	agent, host := clienttest.Serve(t, clienttest.Script{method: {serve}, "GetContainer": {running}})
	var out, errs buffer
	go func() {
		<-standing
		eventually(t, "the output is shown", func() bool { return len(answers) == 0 || out.String() == "x" })
		agent.Kill()
	}()
	c := newCLI(t, nil, strings.NewReader(""), &out, &errs, host)
	code := command.Run(t.Context(), c, words(args))
	return result{stdout: out.String(), stderr: errs.String(), code: code}
}

func TestLostAgentHint(t *testing.T) {
	run := []proto.Message{runStarted("c1"), runOutput("x")}
	exec := []proto.Message{
		&containerv1.ExecContainerResponse{
			Event: &containerv1.ExecContainerResponse_Started{Started: &containerv1.Started{Id: "c1"}},
		},
		&containerv1.ExecContainerResponse{Event: &containerv1.ExecContainerResponse_Output{Output: stdoutOf("x")}},
	}
	attach := []proto.Message{
		&containerv1.AttachContainerResponse{
			Event: &containerv1.AttachContainerResponse_Started{Started: &containerv1.Started{Id: "c1"}},
		},
		&containerv1.AttachContainerResponse{Event: &containerv1.AttachContainerResponse_Output{Output: stdoutOf("x")}},
	}
	log := []proto.Message{&containerv1.ReadLogsResponse{Time: ago(0), Output: stdoutOf("x")}}
	for _, r := range []struct {
		args, method string
		answers      []proto.Message
		code         int
		back         string
	}{
		{"run --name web nginx", "RunContainer", run, 125,
			"container web keeps running; return to it with: fairlead attach web"},
		{"attach web", "AttachContainer", attach, 1,
			"container web keeps running; return to it with: fairlead attach web"},
		{"exec web sleep 9", "ExecContainer", exec, 1,
			"container web keeps running; run another command with: fairlead exec -it web sh"},
		{"logs -f web", "ReadLogs", log, 1, "continue with: fairlead logs -f --since 2026-09-21T14:13:20Z web"},
		{"events", "WatchEvents", nil, 1, "continue with: fairlead events --since 2026-09-21T14:13:20Z"},
		{"wait web", "WaitContainer", nil, 1, "containers keep running without the agent"},
	} {
		t.Run(r.args, func(t *testing.T) {
			got := agentDiesIn(t, r.args, r.method, r.answers...)
			if got.code != r.code || !strings.Contains(got.stderr, ": connection lost: ") ||
				strings.Count(got.stderr, "\n") != 1 ||
				!strings.HasSuffix(got.stderr, r.back+"\n") {
				t.Errorf("got code %d, %q, want code %d and the end %q", got.code, got.stderr, r.code, r.back)
			}
		})
	}
}
