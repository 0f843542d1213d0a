package listing_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apitest"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/listing"
)

func TestRowIsDockers(t *testing.T) {
	c := new(containerv1.Container)
	apitest.ReadMessage(t, "../../inspect/testdata/running.json", c)
	now := c.GetStartedAt().AsTime().Add(90 * time.Minute)
	rows := []listing.Row{listing.FromProto(c, nil, now, apiversion.Max)}
	apitest.Golden(t, "running", rows)
	apitest.Validate(t, "GET /containers/json", 200, rows)
	if old := apitest.Text(t, listing.FromProto(c, nil, now, apiversion.V(51))); bytes.Contains(old,
		[]byte(`"Health"`)) {
		t.Errorf("version 1.51: got %s, want no health", old)
	}
}

// containers returns three containers, the newest first.
func containers() []*containerv1.Container {
	at := timestamppb.New(time.Unix(1, 0))
	return []*containerv1.Container{
		{Id: "cccc1111", Config: &containerv1.ContainerConfig{Name: "web", Image: "nginx:1", Labels: map[string]string{
			"a": "1"}, Annotations: map[string]string{"note": "x"}, Mounts: []*containerv1.Mount{{Source: "vol",
			Target: "/data"}}}, ImageId: "sha256:aa", Status: containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING,
			Sandbox: &networkv1.Sandbox{Endpoints: []*networkv1.Endpoint{{NetworkName: "front",
				NetworkId: "n1n1n1n1n1n1n1"}}}},
		{Id: "bbbb1111", Config: &containerv1.ContainerConfig{Name: "web2", Image: "docker.io/library/nginx:1"},
			ImageId: "sha256:aa", StartedAt: at, ExitCode: 3,
			Status: containerv1.ContainerStatus_CONTAINER_STATUS_EXITED},
		{Id: "aaaa1111", Config: &containerv1.ContainerConfig{Name: "db", Image: "pg",
			Network: &containerv1.NetworkConfig{
				Mode: "host"}}, ImageId: "sha256:bb", Status: containerv1.ContainerStatus_CONTAINER_STATUS_PAUSED,
			Health: &containerv1.Health{Status: containerv1.HealthStatus_HEALTH_STATUS_HEALTHY}},
	}
}

func TestFilters(t *testing.T) {
	for text, want := range map[string][]string{
		`{}`:                                   {"web", "db"},
		`{"name":["^/web$"]}`:                  {"web"},
		`{"name":["eb"]}`:                      {"web"},
		`{"id":["aaaa"]}`:                      {"db"},
		`{"status":["exited"]}`:                {"web2"},
		`{"status":["paused","exited"]}`:       {"web2", "db"},
		`{"label":["a"]}`:                      {"web"},
		`{"label":["a=2"]}`:                    nil,
		`{"annotation":["note=x"]}`:            {"web"},
		`{"volume":["vol"]}`:                   {"web"},
		`{"volume":["/data"]}`:                 {"web"},
		`{"network":["front"]}`:                {"web"},
		`{"network":["n1n1n1n1n1n1"]}`:         {"web"},
		`{"network":["host"]}`:                 {"db"},
		`{"health":["healthy"]}`:               {"db"},
		`{"is-task":["true"]}`:                 nil,
		`{"ancestor":["nginx:1"]}`:             {"web"},
		`{"before":["web"]}`:                   {"db"},
		`{"since":["db"]}`:                     {"web"},
		`{"exited":["3"],"status":["exited"]}`: {"web2"},
	} {
		values, err := httpapi.ParseFilters(text, listing.Keys()...)
		if err != nil {
			t.Fatal(err)
		}
		f, err := listing.Parse(values)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		list, err := f.Select(containers(), f.AnyState(), 0)
		var got []string
		for _, c := range list {
			got = append(got, c.GetConfig().GetName())
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestWrongFilterValues(t *testing.T) {
	for _, text := range []string{`{"name":["("]}`, `{"publish":["x"]}`, `{"status":["odd"]}`, `{"health":["odd"]}`,
		`{"exited":["x"]}`, `{"is-task":["maybe"]}`} {
		values, err := httpapi.ParseFilters(text, listing.Keys()...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := listing.Parse(values); err == nil {
			t.Errorf("%s: got no error", text)
		}
	}
}

func TestLimitCountsMatches(t *testing.T) {
	f, err := listing.Parse(httpapi.Filters{})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := f.Select(containers(), true, 2); err != nil || len(list) != 2 ||
		list[1].GetConfig().GetName() != "web2" {
		t.Errorf("got %v, %v", list, err)
	}
}
