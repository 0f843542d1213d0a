package remote_test

import (
	"net"
	"testing"
	"time"

	"github.com/fairlead/fairlead/deploy/vm/internal/remote"
)

func TestServeRunsRequests(t *testing.T) {
	here, there := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- remote.Serve(there, func(q remote.Request) remote.Reply {
			return remote.Reply{Out: []byte(q.Args[0]), Errs: []byte(q.Limit.String()), Code: len(q.Args)}
		})
	}()

	m := remote.On(here)
	for _, args := range [][]string{{"one"}, {"two", "more"}} {
		got, err := m.Run(time.Minute, args...)
		if err != nil || string(got.Out) != args[0] || string(got.Errs) != "1m0s" || got.Code != len(args) {
			t.Errorf("%v: got %+v, %v", args, got, err)
		}
	}

	if err := m.End(); err != nil {
		t.Error(err)
	}

	if err := <-served; err != nil {
		t.Error(err)
	}

	_ = there.Close()
	if _, err := m.Run(time.Minute, "three"); err == nil {
		t.Error("stopped machine: got no error")
	}
}
