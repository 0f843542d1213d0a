package command_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/ctl/internal/command"
	"github.com/fairlead/fairlead/ctl/internal/terminal/terminaltest"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// evil is a label value that clears the screen and forges a line.
const evil, quoted = "x\x1b[2J\ny\u009b", `x\u001b[2J\ny\u009b`

func evilScript() clienttest.Script {
	e := &eventv1.Event{Time: ago(0), Type: "container", Action: "exec_start: " + evil, Id: "c1",
		Attributes: map[string]string{"label": evil}}
	return clienttest.Script{
		"ListContainers": {clienttest.Answers(&containerv1.ListContainersResponse{Containers: []*containerv1.Container{
			{Id: webID, Config: &containerv1.ContainerConfig{Name: evil, Image: evil,
				Labels: map[string]string{"a": evil}}}}})},
		"WatchEvents": {{Serve: func(first proto.Message, s clienttest.Stream) error {
			if _, networks := first.(*networkv1.WatchEventsRequest); networks {
				return nil
			}
			return s.Send(&containerv1.WatchEventsResponse{Event: e})
		}}},
		"RunContainer": {clienttest.Fails(fault.Invalidf("image USER "+evil, "user", "no such user"))},
		"WatchRefusals": {clienttest.Answers(&natv1.WatchRefusalsResponse{Refusals: []*natv1.Refusal{
			{Time: ago(0), OwnerName: "box", Reason: "server", Name: evil}}})},
		"ReadLogs": {clienttest.Answers(&containerv1.ReadLogsResponse{Time: ago(0), Output: stdoutOf(evil)})},
	}
}

func TestControlCharactersAreNotPrinted(t *testing.T) {
	for args, want := range map[string]string{
		"ps -a": "   " + quoted, "denied": "  " + quoted + "\n",
		"events": "exec_start: " + quoted + " c1 (label=" + quoted + ")\n", "run x": "fairlead: image USER " + strings.Replace(quoted, `\n`, "; ", 1) + ": no such user\n",
		"ps -a --format 'table {{.Labels}}'": "a=" + quoted,
	} {
		got := execute(t, row{args: args, script: evilScript()})
		if all := got.stdout + got.stderr; !strings.Contains(all, want) || strings.ContainsAny(all, "\x1b\u009b") {
			t.Errorf("%s: got %q, want %q", args, all, want)
		}
	}

	// Output to scripts and the output of a container itself are not escaped.
	check(t, row{args: "ps -a --format '{{.Label \"a\"}}'", script: evilScript(), stdout: evil + "\n"})
	check(t, row{args: "logs x", script: evilScript(), stdout: evil})
}

func TestTemplatesDoNotControlTheTerminal(t *testing.T) {
	for args, want := range map[string]string{
		"ps -a --format '{{.Label \"a\"}}END'": `x\u001b[2J` + "\r\n" + `y\u009bEND`, "ps -a --format json": `\u001b[2J\ny\u009b`,
	} {
		user, program := terminaltest.Pair(t, 24, 250)
		_, host := clienttest.Serve(t, evilScript())
		var errs buffer
		if code := command.Run(t.Context(), newCLI(t, nil, program, program, &errs, host), words(args)); code != 0 {
			t.Errorf("%s: code %d, %s", args, code, errs.String())
		}
		shown := make([]byte, 4096)
		n, err := user.Read(shown)
		if got := string(shown[:n]); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, %v, want %q", args, got, err, want)
		}
	}
}
