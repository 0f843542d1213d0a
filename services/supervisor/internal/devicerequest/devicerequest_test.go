package devicerequest_test

import (
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/devicerequest"
)

func TestNamesOfDevices(t *testing.T) {
	for _, name := range []string{"nvidia.com/gpu=all", "nvidia.com/gpu=0", "v/c=GPU-12:3_4", "a-b.c/d_e=0",
		"v/c.d=x"} {
		if kind, device, err := devicerequest.Parse(name); err != nil || kind+"="+device != name {
			t.Errorf("%s: got %q, %q, %v", name, kind, device, err)
		}
	}
	for _, name := range []string{"", "gpu", "v/c", "v/c=", "/c=0", "v/=0", "1v/c=0", "v/1c=0", "v/c=-0", "v/c=0.",
		"v/c=a/b", "v/c=a b", "v/c/d=0", "/dev/fuse", "/dev/a=b", "v/c=ä", "-v/c=0", "v-/c=0"} {
		if kind, device, err := devicerequest.Parse(name); err == nil {
			t.Errorf("%s: got %q, %q, want an error", name, kind, device)
		}
	}
}

func TestValidate(t *testing.T) {
	gpu := [][]string{{"gpu"}}
	for want, r := range map[string]devicerequest.Request{
		"":  {Capabilities: gpu, Count: devicerequest.All},
		" ": {Driver: "nvidia", Capabilities: [][]string{{"tpu"}, {"gpu", "utility"}}, IDs: []string{"0"}},
		"c: cannot set both Count and DeviceIDs on device request; name the devices, or give their number": {
			Capabilities: gpu, Count: 1, IDs: []string{"0"}},
		"c: invalid count of devices: -2; give a number, or -1 for all": {Capabilities: gpu, Count: -2},
		`c: invalid CDI device name "0"; write VENDOR/CLASS=NAME`:       {Driver: "cdi", IDs: []string{"v/c=1", "0"}},
		"c: a device request of the driver cdi names no devices; name them as VENDOR/CLASS=NAME": {
			Driver: "cdi", Count: 1},
		`c: could not select device driver "x" with capabilities: [[gpu]]; request the capability gpu, or name ` +
			`devices with --device VENDOR/CLASS=NAME`: {Driver: "x", Capabilities: gpu},
		`c: could not select device driver "" with capabilities: [[gpu tpu]]; request the capability gpu, or name ` +
			`devices with --device VENDOR/CLASS=NAME`: {Capabilities: [][]string{{"gpu", "tpu"}}},
		`c: could not select device driver "" with capabilities: []; request the capability gpu, or name ` +
			`devices with --device VENDOR/CLASS=NAME`: {Count: 1},
	} {
		err := r.Validate("c")
		if want = trimmed(want); want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%+v: got  %v\nwant %s", r, err, want)
		}
	}
}

// trimmed removes the space that makes a second key of the table.
func trimmed(s string) string {
	if s == " " {
		return ""
	}
	return s
}
