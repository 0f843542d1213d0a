package commit

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
)

func TestConfigOfContainer(t *testing.T) {
	const image = `{"config":{"Cmd":["old"],"Entrypoint":["/e"],"Env":["A=1"],"User":"u","WorkingDir":"/w",
		"Volumes":{"/v":{}},"Labels":{"a":"b"},"StopSignal":"INT","OnBuild":["RUN x"],
		"Healthcheck":{"Test":["CMD","t"],"Interval":1000000000}}}`
	p80, _ := port.ParseExposed("80")
	base := container.Process{Env: []string{"A=1"}, Labels: map[string]string{"a": "b"}}
	for what, tc := range map[string]struct {
		c    container.Container
		want string
	}{
		"unchanged": {container.Container{Process: base}, `{"User":"u","Env":["A=1"],"Entrypoint":["/e"],"Cmd":["old"],
			"Volumes":{"/v":{}},"WorkingDir":"/w","Labels":{"a":"b"},"StopSignal":"INT",
			"Healthcheck":{"Test":["CMD","t"],"Interval":1000000000},"OnBuild":["RUN x"]}`},
		"changed": {container.Container{
			Config: container.Config{Command: []string{"new"}, User: "me", WorkingDir: "/x", StopSignal: "KILL",
				Health: &healthcheck.Check{Timeout: time.Second},
				Mounts: []container.Mount{{Type: container.VolumeMount, Source: "n", Target: "/anon", Anonymous: true},
					{Type: container.VolumeMount, Source: "named", Target: "/named"}}},
			Process: container.Process{Env: []string{"A=2"}, Exposed: []port.Exposed{p80}}},
			`{"User":"me","ExposedPorts":{"80/tcp":{}},"Env":["A=2"],"Entrypoint":["/e"],"Cmd":["new"],
			"Volumes":{"/v":{},"/anon":{}},"WorkingDir":"/x","StopSignal":"KILL",
			"Healthcheck":{"Test":["CMD","t"],"Interval":1000000000,"Timeout":1000000000},"OnBuild":["RUN x"]}`},
		"other entrypoint": {container.Container{Process: base, Config: container.Config{Entrypoint: []string{"/n"},
			Health: &healthcheck.Check{Test: []string{"NONE"}}}},
			`{"User":"u","Env":["A=1"],"Entrypoint":["/n"],"Volumes":{"/v":{}},"WorkingDir":"/w","Labels":{"a":"b"},
			"StopSignal":"INT","Healthcheck":{"Test":["NONE"],"Interval":1000000000},"OnBuild":["RUN x"]}`},
		"no entrypoint": {container.Container{Process: base, Config: container.Config{Entrypoint: []string{""},
			Command: []string{"c"}}}, `{"User":"u","Env":["A=1"],"Cmd":["c"],"Volumes":{"/v":{}},"WorkingDir":"/w",
			"Labels":{"a":"b"},"StopSignal":"INT","Healthcheck":{"Test":["CMD","t"],"Interval":1000000000},
			"OnBuild":["RUN x"]}`},
	} {
		got, err := configOf(&tc.c, []byte(image))
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var have, want any
		_ = json.Unmarshal(data, &have)
		if err := json.Unmarshal([]byte(tc.want), &want); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
}
