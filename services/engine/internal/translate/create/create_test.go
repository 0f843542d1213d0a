package create_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apitest"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/create"
)

// translate returns the configuration for a body.
func translate(t *testing.T, text string, v apiversion.Version) (*containerv1.ContainerConfig, []string, error) {
	t.Helper()
	b, err := create.Parse([]byte(text))
	if err != nil {
		return nil, nil, err
	}
	return b.ToProto(create.Options{Name: "web", Platform: "linux/amd64", Version: v})
}

func TestBodiesOfClients(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if strings.HasSuffix(name, ".golden") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg, _, err := translate(t, string(text), apiversion.V(50))
			if err != nil {
				t.Fatal(err)
			}
			apitest.Golden(t, name, cfg)
		})
	}
}

func TestWrongBodies(t *testing.T) {
	for text, want := range map[string]string{
		"":          "config cannot be empty",
		"{":         "invalid JSON: unexpected EOF",
		"{} {}":     "unexpected content after JSON",
		`{"Env":1}`: "field Env: number is not a valid []string",
		`{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"x"}]}}}`: `invalid port specification: "x"`,
		`{"HostConfig":{"PortBindings":{"80/icmp":[{"HostPort":"1"}]}}}`: "port 80/icmp: " +
			"invalid proto: icmp",
		`{"HostConfig":{"PortBindings":{"80000/tcp":[]}}}`: "invalid JSON: " +
			"invalid port '80000'",
		`{"HostConfig":{"Binds":["a"]}}`: "mount path must be " +
			"absolute",
		`{"HostConfig":{"Binds":["/a:/b:zz"]}}`: "invalid mode: zz",
		`{"HostConfig":{"Binds":["/a:/b","/c:/b"]}}`: "Duplicate mount " +
			"point: /b",
		`{"HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":-1}}}`: "invalid restart policy: " +
			"maximum retry count cannot be negative",
		`{"HostConfig":{"RestartPolicy":{"Name":"always","MaximumRetryCount":-1}}}`: "can only be used with 'on-failure'",
		`{"HostConfig":{"Binds":["/a:/"]}}`: "destination can't " +
			"be '/'",
		`{"HostConfig":{"Mounts":[{"Type":"npipe","Target":"/a"}]}}`: "mount type unknown",
		`{"HostConfig":{"DeviceRequests":[{"Options":{"a":"b"}}]}}`: "HostConfig.DeviceRequests.Options: is not " +
			"supported",
		`{"HostConfig":{"MaskedPaths":["/x"]}}`: "MaskedPaths and " +
			"ReadonlyPaths: is not supported",
		`{"Labels":{"fairlead.publish.form":"10.0.0.0/8"}}`: "label " +
			"fairlead.publish.form: is unknown",
		`{"Labels":{"fairlead.publish.from.81":"10.0.0.0/8"}}`: "port 81/tcp is not " +
			"published",
		`{"Labels":{"fairlead.publish.from":"10.0.0.1/8"}}`: "it should be " +
			"10.0.0.0/8",
		`{"Labels":{"fairlead.keep-netns":"maybe"}}`: "neither true nor " +
			"false",
		`{"Labels":{"fairlead.packets":"10k"}}`:        "is not a number of packets",
		`{"Labels":{"fairlead.max-connections":"-1"}}`: "is not a number of connections",
		`{"NetworkingConfig":{"EndpointsConfig":{"n":{"DriverOpts":{"a":"b"}}}}}`: "driver option a is " +
			"not supported",
		`{"HostConfig":{"NetworkMode":"host"},"NetworkingConfig":{"EndpointsConfig":{"n":{}}}}`: "conflicting options",
	} {
		_, _, err := translate(t, text, apiversion.Max)
		e, ok := errors.AsType[*httpapi.Error](err)
		if !ok || e.Status != http.StatusBadRequest || !strings.Contains(e.Message, want) {
			t.Errorf("%s: got %v, want 400 %s", text, err, want)
		}
	}
}

func TestSeveralNetworksNeedVersion44(t *testing.T) {
	text := `{"NetworkingConfig":{"EndpointsConfig":{"b":{},"a":{}}}}`
	if _, _, err := translate(t, text, apiversion.V(43)); err == nil ||
		err.Error() != "Container cannot be connected to network endpoints: a, b" {
		t.Errorf("version 1.43: got %v", err)
	}
	cfg, _, err := translate(t, text, apiversion.V(44))
	if err != nil || len(cfg.GetNetwork().GetNetworks()) != 2 || cfg.GetNetwork().GetNetworks()[0].GetNetwork() != "b" {
		t.Errorf("version 1.44: got %v, %v, want b before a", cfg, err)
	}
}

func TestContainerMACUntilVersion51(t *testing.T) {
	text := `{"MacAddress":"02:42:ac:11:00:09"}`
	for minor, want := range map[int]string{43: "02:42:ac:11:00:09", 51: "02:42:ac:11:00:09", 52: ""} {
		cfg, _, err := translate(t, text, apiversion.V(minor))
		got := ""
		if all := cfg.GetNetwork().GetNetworks(); len(all) > 0 {
			got = all[0].GetMacAddress()
		}
		if err != nil || got != want {
			t.Errorf("version 1.%d: got %q, %v, want %q", minor, got, err, want)
		}
	}
}

func TestModesWithoutEndpoints(t *testing.T) {
	for _, mode := range []string{"host", "none", "container:x"} {
		text := `{"HostConfig":{"NetworkMode":"` + mode + `"},"NetworkingConfig":{"EndpointsConfig":{"` + mode +
			`":{}}}}`
		cfg, _, err := translate(t, text, apiversion.Max)
		if err != nil || cfg.GetNetwork().GetMode() != mode || len(cfg.GetNetwork().GetNetworks()) > 0 {
			t.Errorf("%s: got %v, %v", mode, cfg.GetNetwork(), err)
		}
	}
}

func TestEmptyBindingsWarn(t *testing.T) {
	cfg, warnings, err := translate(t, `{"HostConfig":{"PortBindings":{"80/tcp":[]}}}`, apiversion.Max)
	if err != nil || len(warnings) != 1 || len(cfg.GetNetwork().GetPublish()) != 1 {
		t.Errorf("got %v, %q, %v", cfg.GetNetwork(), warnings, err)
	}
}

func TestCommandAsText(t *testing.T) {
	cfg, _, err := translate(t, `{"Cmd":"date","Entrypoint":[]}`, apiversion.V(24))
	if err != nil || len(cfg.GetCommand()) != 1 || len(cfg.GetEntrypoint()) != 1 || cfg.GetEntrypoint()[0] != "" {
		t.Errorf("got command %q, entrypoint %q, %v", cfg.GetCommand(), cfg.GetEntrypoint(), err)
	}
}

func TestVariableWithoutValueIsNotSet(t *testing.T) {
	cfg, _, err := translate(t, `{"Image":"web","Env":["A=1","B","C="]}`, apiversion.Max)
	if err != nil || strings.Join(cfg.GetEnv(), " ") != "A=1 C=" {
		t.Errorf("got %q, %v", cfg.GetEnv(), err)
	}
}
