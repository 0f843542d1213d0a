package limitspec

import (
	"reflect"
	"testing"
)

func TestParseDevice(t *testing.T) {
	for text, want := range map[string]Device{
		"/dev/fuse":          {"/dev/fuse", "/dev/fuse", "rwm"},
		"/dev/fuse:/dev/x":   {"/dev/fuse", "/dev/x", "rwm"},
		"/dev/fuse:r":        {"/dev/fuse", "/dev/fuse", "r"},
		"/dev/fuse:/dev/x:m": {"/dev/fuse", "/dev/x", "m"},
		"/dev/fuse::rw":      {"/dev/fuse", "/dev/fuse", "rw"},
	} {
		if got, err := ParseDevice(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "fuse", "/dev/a:b", "/dev/a:/b:x", "/dev/a:/b:r:w", "/dev/a:/b:", "/dev/a:/b:rr",
		":/dev/a"} {
		if got, err := ParseDevice(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestParseGPUs(t *testing.T) {
	for text, want := range map[string]GPUs{
		"all": {Count: -1}, "2": {Count: 2}, "count=all,driver=nvidia": {Driver: "nvidia", Count: -1},
		"device=0": {IDs: []string{"0"}}, `"device=0,GPU-1"`: {IDs: []string{"0", "GPU-1"}},
		`driver=amd,"capabilities=compute,utility"`: {Driver: "amd", Count: 1, Capabilities: []string{"compute", "utility"}},
	} {
		if got, err := ParseGPUs(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"some":      `invalid count (some): value must be either "all" or an integer`,
		"1,2":       "gpu request key 'count' can be specified only once",
		"x=y":       "unexpected key 'x' in 'x=y'",
		"options=a": "options of GPUs are not supported: a CDI specification has none",
	} {
		if got, err := ParseGPUs(text); err == nil || err.Error() != want {
			t.Errorf("%s: got %+v, %v, want %s", text, got, err, want)
		}
	}
}

func TestIsDeviceName(t *testing.T) {
	for text, want := range map[string]bool{"nvidia.com/gpu=all": true, "v/c=GPU-1:2": true, "/dev/fuse": false,
		"/dev/a=b": false, "v/c": false, "v/c=": false, "v/c=a/b": false, "1/c=a": false} {
		if got := IsDeviceName(text); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

func TestCheckDeviceRule(t *testing.T) {
	for text, want := range map[string]bool{"c 10:* rwm": true, "a *:* r": true, "b 8:0 m": true, "c 10 rwm": false,
		"x 1:1 r": false, "c 1:1 x": false, "": false, "c  1:1 r": false} {
		if got := CheckDeviceRule(text) == nil; got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}
