package command_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

func TestDNSLogNamesContainersOfAllPages(t *testing.T) {
	page := func(name, next string) clienttest.Call {
		return clienttest.Answers(&containerv1.ListContainersResponse{NextPageToken: next,
			Containers: []*containerv1.Container{{Id: name + "-id", Config: &containerv1.ContainerConfig{Name: name}}}})
	}
	got := execute(t, row{args: "dns log", script: clienttest.Script{
		"ListContainers": {page("one", "more"), page("two", "")},
		"WatchQueries":   {clienttest.Answers(&dnsv1.WatchQueriesResponse{Queries: []*dnsv1.Query{{Owner: "two-id"}}})},
	}})
	if got.code != 0 || !strings.Contains(got.stdout, "  two  ") {
		t.Errorf("got code %d, %q, %q, want the name of a container of the second page", got.code, got.stdout,
			got.stderr)
	}
}
