package run_test

import (
	"slices"
	"testing"

	"github.com/fairlead/fairlead/proto/port"
)

func TestPublishRunningIsAtomic(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, request("web"))
	more := []port.Mapping{{Protocol: port.TCP, Host: port.Single(9000), Container: port.Single(90)}}
	before, err := h.runner.Find("web")
	if err != nil {
		t.Fatal(err)
	}

	h.fail = "publish ports"
	if _, _, err := h.runner.PublishPorts(t.Context(), "web", more, nil); err == nil {
		t.Fatal("got no error")
	}

	if after, _ := h.runner.Find("web"); len(after.Config.Network.Publish) != len(before.Config.Network.Publish) {
		t.Errorf("after a failure: got %+v", after.Config.Network.Publish)
	}

	h.fail = ""
	bindings, warnings, err := h.runner.PublishPorts(t.Context(), "web", more, nil)
	if err != nil || len(bindings) != 2 || bindings[1].Host.First != 9000 {
		t.Fatalf("got %+v, %v", bindings, err)
	}

	if !slices.Equal(warnings, []string{"port 9000 is closed"}) {
		t.Errorf("got warnings %q, want only of the new port", warnings)
	}

	if err := h.runner.UnpublishPorts(t.Context(), "web",
		[]port.Mapping{{Protocol: port.TCP, Container: port.Single(80)}}, nil, false); err != nil {
		t.Fatal(err)
	}

	h.crash(t)
	after, err := h.runner.Find("web")
	if err != nil || len(after.Config.Network.Publish) != 1 || after.Config.Network.Publish[0] != more[0] {
		t.Errorf("stored: got %+v, %v", after.Config.Network.Publish, err)
	}
}
