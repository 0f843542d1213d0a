package cdi_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/services/supervisor/internal/cdi"
	"github.com/fairlead/fairlead/services/supervisor/internal/devicerequest"
)

const gpus = `
cdiVersion: "0.6.0"
kind: nvidia.com/gpu
containerEdits:
  env: [VISIBLE=void, A=1]
  hooks:
  - {hookName: createContainer, path: /bin/true, args: [true, x], timeout: 5}
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - {path: /dev/gpu0, hostPath: /dev/null, permissions: r}
- name: "10"
  containerEdits: {env: [B=10]}
- name: "1"
  containerEdits:
    env: [B=1]
    additionalGids: [0, 44]
    mounts:
    - {hostPath: /lib/x.so, containerPath: /lib/x.so, options: [ro, nosuid]}
    - {hostPath: tmpfs, containerPath: /t, type: tmpfs}
- name: UUID-1
  containerEdits: {}
- name: all
  containerEdits: {env: [ALL=1]}
`

const fuse = `{"cdiVersion":"0.5.0","kind":"example.com/fuse","devices":[{"name":"one","containerEdits":
	{"deviceNodes":[{"path":"/dev/own","type":"c","major":7,"minor":8,"fileMode":384,"uid":5,"gid":6}]}}]}`

// registry loads files by name, as in etc/gpu.yaml. Those of run take precedence over those of etc.
func registry(t *testing.T, files map[string]string) *cdi.Registry {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cdi.Load([]string{filepath.Join(dir, "etc"), filepath.Join(dir, "run")})
}

func apply(t *testing.T, r *cdi.Registry, requests ...devicerequest.Request) *specs.Spec {
	t.Helper()
	s := &specs.Spec{Process: &specs.Process{Env: []string{"PATH=/bin", "A=0"}},
		Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
	edits, err := r.Resolve("c", requests)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		if err := e.Apply(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func named(names ...string) devicerequest.Request {
	return devicerequest.Request{Driver: devicerequest.CDI, IDs: names}
}

func TestEditsAreApplied(t *testing.T) {
	r := registry(t, map[string]string{"etc/gpu.yaml": gpus, "run/fuse.json": fuse, "etc/readme.txt": "x"})
	got := apply(t, r, named("nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=0", "example.com/fuse=one"))

	timeout, mode, own := 5, os.FileMode(0o666), os.FileMode(0o600)
	major, minor, sevenMajor, eightMinor, uid, gid := int64(1), int64(3), int64(7), int64(8), uint32(5), uint32(6)
	want := &specs.Spec{
		Process: &specs.Process{Env: []string{"PATH=/bin", "VISIBLE=void", "A=1", "B=1"},
			User: specs.User{AdditionalGids: []uint32{44}}},
		Mounts: []specs.Mount{
			{Destination: "/lib/x.so", Source: "/lib/x.so", Type: "bind", Options: []string{"rbind", "ro", "nosuid"}},
			{Destination: "/t", Source: "tmpfs", Type: "tmpfs"}},
		Hooks: &specs.Hooks{CreateContainer: []specs.Hook{{Path: "/bin/true", Args: []string{"true", "x"},
			Timeout: &timeout}}},
		Linux: &specs.Linux{
			Devices: []specs.LinuxDevice{{Path: "/dev/gpu0", Type: "c", Major: 1, Minor: 3, FileMode: &mode},
				{Path: "/dev/own", Type: "c", Major: 7, Minor: 8, FileMode: &own, UID: &uid, GID: &gid}},
			Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{
				{Allow: true, Type: "c", Major: &major, Minor: &minor, Access: "r"},
				{Allow: true, Type: "c", Major: &sevenMajor, Minor: &eightMinor, Access: "rwm"}}}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestGPUsAreSelected(t *testing.T) {
	r := registry(t, map[string]string{"etc/gpu.yaml": gpus, "etc/other.json": strings.ReplaceAll(
		`{"cdiVersion":"0.5.0","kind":"amd.com/gpu","devices":[{"name":"x","containerEdits":{"env":["B=amd-x"]}},
		{"name":"y","containerEdits":{"env":["C=amd-y"]}}]}`, "\n", "")})
	for want, req := range map[string]devicerequest.Request{
		"ALL=1":           {Count: devicerequest.All},
		"B=1":             {Count: 2}, // 0 and 1; 10 is the third
		"B=10":            {Count: 3},
		"B=1 ":            {IDs: []string{"1"}},
		"B=amd-x C=amd-y": {Driver: "amd", Count: devicerequest.All},
		"B=amd-x":         {Driver: "amd", Count: 1},
	} {
		env := slices.DeleteFunc(apply(t, r, req).Process.Env, func(e string) bool {
			return e == "PATH=/bin" || strings.HasPrefix(e, "A=") || e == "VISIBLE=void"
		})
		if got := strings.Join(env, " "); got != strings.TrimSpace(want) {
			t.Errorf("%+v: got %s, want %s", req, got, want)
		}
	}

	for want, req := range map[string]devicerequest.Request{
		"c: 4 GPUs are requested, the host has 3 of nvidia.com/gpu": {Count: 4},
		"c: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=7; describe them in /etc/cdi or " +
			"/var/run/cdi": {Driver: "nvidia", IDs: []string{"0", "7"}},
	} {
		if _, err := r.Resolve("c", []devicerequest.Request{req}); err == nil || err.Error() != want {
			t.Errorf("%+v: got %v, want %s", req, err, want)
		}
	}

	_, err := registry(t, nil).Resolve("c", []devicerequest.Request{{Capabilities: [][]string{{"gpu"}}, Count: 1}})
	const want = `c: could not select device driver "" with capabilities: [[gpu]]; describe the GPUs`
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A file of the second directory replaces a device of the first. Two files of one directory conflict.
func TestPrecedenceOfFiles(t *testing.T) {
	spec := func(value string) string {
		return `{"cdiVersion":"0.5.0","kind":"v/c","devices":[{"name":"d","containerEdits":{"env":["V=` + value +
			`"]}}]}`
	}
	got := apply(t, registry(t, map[string]string{"etc/a.json": spec("etc"), "run/a.json": spec("run")}),
		named("v/c=d"))
	if want := "V=run"; !slices.Contains(got.Process.Env, want) {
		t.Errorf("got %q, want %s", got.Process.Env, want)
	}

	r := registry(t, map[string]string{"etc/a.json": spec("1"), "etc/b.json": spec("2")})
	if _, err := r.Resolve("c", []devicerequest.Request{named("v/c=d")}); err == nil ||
		!strings.HasSuffix(err.Error(), "; two files of one directory define v/c=d") {
		t.Errorf("got %v", err)
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	edits := func(text string) string {
		return `{"cdiVersion":"0.5.0","kind":"v/c","devices":[{"name":"d","containerEdits":` + text + `}]}`
	}
	for want, text := range map[string]string{
		"error converting YAML":      "{",
		"cdiVersion is missing":      `{"kind":"v/c"}`,
		`invalid CDI device kind "`:  `{"cdiVersion":"0.5.0","kind":"v"}`,
		`invalid CDI device name "`:  `{"cdiVersion":"0.5.0","kind":"v/c","devices":[{"name":"/"}]}`,
		"device d is defined twice":  `{"cdiVersion":"0.5.0","kind":"v/c","devices":[{"name":"d"},{"name":"d"}]}`,
		"intelRdt is not supported":  edits(`{"intelRdt":{"closID":"x"}}`),
		"netDevices are not support": edits(`{"netDevices":[{"hostInterfaceName":"x"}]}`),
		`hook name "x" is unknown`:   edits(`{"hooks":[{"hookName":"x","path":"/x"}]}`),
		`hook: "x" is not an abs`:    edits(`{"hooks":[{"hookName":"poststop","path":"x"}]}`),
		`type "x" is not b, c, u`:    edits(`{"deviceNodes":[{"path":"/dev/x","type":"x"}]}`),
		"/dev/../x is not below":     edits(`{"deviceNodes":[{"path":"/dev/../x"}]}`),
		`mount: "x" is not an abs`:   edits(`{"mounts":[{"hostPath":"/x","containerPath":"x"}]}`),
	} {
		_, err := registry(t, map[string]string{"etc/a.json": text}).Resolve("c",
			[]devicerequest.Request{named("v/c=d")})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "a.json: ") {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestMissingNodeIsAnError(t *testing.T) {
	s := &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
	for want, n := range map[string]cdi.Node{"no such file": {Path: "/dev/nosuch"},
		"another type": {Path: "/dev/null", Type: "b"}, "another type ": {Path: "/dev/x", HostPath: "/etc/passwd"}} {
		e := cdi.Edits{Nodes: []cdi.Node{n}}
		if err := e.Apply(s); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("%+v: got %v, want %s", n, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(gpus))
	f.Add([]byte(fuse))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := cdi.Parse(text)
		if (s == nil) == (err == nil) {
			t.Errorf("got %v, %v", s, err)
		}
	})
}
