package command_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/ctl/internal/command"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// denied --follow continues after the last record when natagent was restarted. Without --follow, and if natagent
// has not responded before, the command fails.
func TestDeniedContinuesAfterRestart(t *testing.T) {
	gone := faultrpc.ToStatus(fault.New(fault.Unavailable, "natagent", "does not respond"))
	refused := func(second int64, name string) clienttest.Call {
		return clienttest.Call{Serve: func(_ proto.Message, s clienttest.Stream) error {
			if err := s.Send(&natv1.WatchRefusalsResponse{Refusals: []*natv1.Refusal{{Owner: "c1", Name: name,
				Reason: "name", Time: timestamppb.New(time.Unix(second, 0))}}}); err != nil {
				return err
			}
			if second > 1 {
				return nil
			}
			return gone
		}}
	}
	for args, want := range map[string]struct {
		code, calls int
		calling     []clienttest.Call
		names       []string
	}{
		"denied --follow": {0, 3, []clienttest.Call{refused(1, "a.test"), clienttest.Fails(gone), refused(2, "b.test")},
			[]string{"a.test", "b.test"}},
		"denied": {1, 1, []clienttest.Call{refused(1, "a.test"), refused(2, "b.test")}, []string{"a.test"}},
		"denied --follow --format json": {1, 1, []clienttest.Call{clienttest.Fails(gone), refused(2, "b.test")},
			nil},
	} {
		agent, host := clienttest.Serve(t, clienttest.Script{"WatchRefusals": want.calling})
		var out, errs buffer
		code := command.Run(t.Context(), newCLI(t, nil, strings.NewReader(""), &out, &errs, host), words(args))
		if code != want.code || len(agent.Requests()) != want.calls {
			t.Errorf("%s: got code %d, %d calls, %q", args, code, len(agent.Requests()), errs.String())
		}
		for _, name := range []string{"a.test", "b.test"} {
			if got := strings.Contains(out.String(), name); got != slices.Contains(want.names, name) {
				t.Errorf("%s: got %q, want %q", args, out.String(), want.names)
			}
		}
		if last := agent.Requests()[want.calls-1].(*natv1.WatchRefusalsRequest); want.calls == 3 &&
			last.GetSince().GetSeconds() != 1 {
			t.Errorf("%s: continued with %v", args, last)
		}
	}
}
