package limitspec

import (
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "512": 512, "64k": 64 << 10, "64K": 64 << 10, "64kb": 64 << 10, "64KiB": 64 << 10, "6m": 6 << 20,
		"1.5g": 3 << 29, "2 gb": 2 << 30, "1t": 1 << 40, "1P": 1 << 50, "10b": 10,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "k", "1x", "1kk", "1.", ".5m", "0x10", "9999999p", "1e3", " 1", "NaN"} {
		if got, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), "invalid size: '"+text+"'") {
			t.Errorf("%q: got %d, %v, want an error", text, got, err)
		}
	}
}

func TestParseCPUs(t *testing.T) {
	for text, want := range map[string]int64{"1": 1e9, "1.5": 15e8, ".5": 5e8, "0.000000001": 1, "0": 0, "-1": -1e9} {
		if got, err := ParseCPUs(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "one", "1/3", "0.0000000001", "1e9", "1e999999999", "0x1p4", "99999999999999999",
		strings.Repeat("9", 40)} {
		if got, err := ParseCPUs(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

func TestParseUlimit(t *testing.T) {
	for text, want := range map[string]Ulimit{
		"nofile=1024": {"nofile", 1024, 1024}, "nproc=5:10": {"nproc", 5, 10}, "core=0:-1": {"core", 0, -1},
		"memlock=-1": {"memlock", -1, -1}, "memlock=-1:-1": {"memlock", -1, -1},
	} {
		if got, err := ParseUlimit(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"nofile": "invalid ulimit argument: nofile", "files=1": "invalid ulimit type: files",
		"nofile=1:2:3": "too many limit value arguments", "nofile=2:1": "hard limit: 2 > 1",
		"nofile=-1:5": "soft: -1 (unlimited), hard: 5", "nofile=x": `"x" is not a number`, "nofile=-2": `"-2"`,
		"nofile=1:": `""`,
	} {
		if got, err := ParseUlimit(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestParseDevices(t *testing.T) {
	if got, err := ParseWeightDevice("/dev/sda:500"); err != nil || got != (DeviceRate{"/dev/sda", 500}) {
		t.Errorf("weight: got %v, %v", got, err)
	}
	if got, err := ParseDeviceBps("/dev/sda:2mb"); err != nil || got != (DeviceRate{"/dev/sda", 2 << 20}) {
		t.Errorf("bps: got %v, %v", got, err)
	}
	if got, err := ParseDeviceIOps("/dev/sda:100"); err != nil || got != (DeviceRate{"/dev/sda", 100}) {
		t.Errorf("iops: got %v, %v", got, err)
	}
	for text, parse := range map[string]func(string) (DeviceRate, error){
		"/dev/sda": ParseWeightDevice, "sda:100": ParseDeviceIOps, "/dev/sda:5": ParseWeightDevice,
		"/dev/sda:1001": ParseWeightDevice, "/dev/sda:0": ParseDeviceBps, "/dev/sda:-1": ParseDeviceBps,
		"/dev/sda:1k": ParseDeviceIOps, "/dev/sda:1:2": ParseDeviceIOps,
	} {
		if got, err := parse(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"1.5g", "nofile=1:2", "/dev/sda:1mb"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseSize(text); err == nil && n < 0 {
			t.Errorf("size %q: got %d", text, n)
		}
		_, _ = ParseCPUs(text)
		if u, err := ParseUlimit(text); err == nil && (u.Soft < -1 || u.Hard < -1) {
			t.Errorf("ulimit %q: got %v", text, u)
		}
		for _, parse := range []func(string) (DeviceRate, error){ParseWeightDevice, ParseDeviceBps, ParseDeviceIOps} {
			if d, err := parse(text); err == nil && (d.Rate == 0 || d.Path == "") {
				t.Errorf("device %q: got %v", text, d)
			}
		}
	})
}
