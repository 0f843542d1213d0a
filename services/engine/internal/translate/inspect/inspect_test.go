package inspect_test

import (
	"bytes"
	"testing"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apitest"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/translate/inspect"
)

func document(t *testing.T, name string, v apiversion.Version) *inspect.Document {
	t.Helper()
	c := new(containerv1.Container)
	apitest.ReadMessage(t, name+".json", c)
	image := &containerv1.Image{Config: []byte(`{"config":{"Cmd":["sh"],"Entrypoint":null}}`)}
	return inspect.FromProto(c, image, nil, v)
}

func TestDocumentsAreDockers(t *testing.T) {
	for _, name := range []string{"running", "stopped"} {
		t.Run(name, func(t *testing.T) {
			doc := document(t, name, apiversion.Max)
			apitest.Golden(t, name, doc)
			apitest.Validate(t, "GET /containers/{id}/json", 200, doc)
		})
	}
}

func TestDocumentsOfOldVersions(t *testing.T) {
	for _, c := range []struct {
		minor   int
		want    []string
		without []string
	}{
		{24, []string{`"KernelMemory": 0`, `"IPAddress": "172.30.0.9"`, `"HairpinMode": false`, `"362e85b3b9ef"`}, nil},
		{44, []string{`"IPAddress": "172.30.0.9"`, `"HairpinMode": false`,
			"\"www\",\n          \"362e85b3b9ef\"\n        ],\n        \"DriverOpts\""}, []string{"KernelMemory"}},
		{51, []string{`"HairpinMode": false`}, []string{"KernelMemory",
			"\"www\",\n          \"362e85b3b9ef\"\n        ],\n        \"DriverOpts\""}},
		{52, nil, []string{"HairpinMode", `"SecondaryIPAddresses"`}},
	} {
		text := apitest.Text(t, document(t, "running", apiversion.V(c.minor)))
		for _, want := range c.want {
			if !bytes.Contains(text, []byte(want)) {
				t.Errorf("version 1.%d: got no %s", c.minor, want)
			}
		}
		for _, not := range c.without {
			if bytes.Contains(text, []byte(not)) {
				t.Errorf("version 1.%d: got %s", c.minor, not)
			}
		}
	}
}

func TestCreateOfInspectIsTheSame(t *testing.T) {
	// What inspect shows of a container can be used to create it again, as Watchtower does.
	text := apitest.Text(t, document(t, "running", apiversion.V(43)).HostConfig)
	if !bytes.Contains(text, []byte(`"HostPort": "9000-9010"`)) || !bytes.Contains(text,
		[]byte(`"/srv/www:/var/www:ro"`)) {
		t.Errorf("got host configuration %s", text)
	}
}

func TestModeOfVolumes(t *testing.T) {
	volume := containerv1.MountType_MOUNT_TYPE_VOLUME
	got := inspect.Mounts([]*containerv1.Mount{{Type: volume, Source: "data", Target: "/a"},
		{Type: volume, Source: "data", Target: "/b", ReadOnly: true}, {Type: volume, Source: "x", Anonymous: true,
			Target: "/c"}})
	for i, want := range []string{"z", "ro", ""} {
		if got[i].Mode != want {
			t.Errorf("%s: got mode %q, want %q", got[i].Destination, got[i].Mode, want)
		}
	}
}
