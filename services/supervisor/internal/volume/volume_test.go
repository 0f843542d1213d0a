package volume_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

func TestValidateName(t *testing.T) {
	for name, want := range map[string]string{
		"data": "", "0-a_.b": "", strings.Repeat("a", 255): "",
		"": "invalid characters", "a": "too short", "a/b": "invalid characters", "..": "invalid characters",
		"é1": "invalid characters", "a b": "invalid characters", "a\x00b": "invalid characters",
		".copy": "invalid characters", strings.Repeat("a", 256): "longer than 255 bytes",
	} {
		err := volume.ValidateName(name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", name, err, want)
		}
	}
}

func TestMountOfOptions(t *testing.T) {
	for _, c := range []struct {
		kind, o, device string
		want            volume.Mount
	}{
		{"none", "bind", "/srv", volume.Mount{Type: "none", Device: "/srv", Flags: unix.MS_BIND}},
		{"", "rbind,ro,rshared", "/srv", volume.Mount{Device: "/srv",
			Flags:       unix.MS_BIND | unix.MS_REC | unix.MS_RDONLY,
			Propagation: unix.MS_SHARED | unix.MS_REC}},
		{"tmpfs", "size=10m,uid=5,noexec,exec", "tmpfs",
			volume.Mount{Type: "tmpfs", Device: "tmpfs", Data: "size=10m,uid=5"}},
		{"nfs", "addr=10.0.0.2,rw,nolock", ":/x",
			volume.Mount{Type: "nfs", Device: ":/x", Data: "addr=10.0.0.2,nolock"}},
	} {
		options := map[string]string{"type": c.kind, "o": c.o, "device": c.device}
		v, err := volume.New("data", "", options, nil, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Mount(); err != nil || *got != c.want {
			t.Errorf("%v: got %+v, %v; want %+v", options, got, err, c.want)
		}
	}
}

func TestInvalidOptionsAreRejected(t *testing.T) {
	for want, options := range map[string]map[string]string{
		`invalid option: "size"`:            {"size": "1"},
		`missing required option: "device"`: {"type": "tmpfs"},
		`missing required option: "type"`:   {"device": "/dev/sda1"},
		"NUL byte":                          {"type": "none", "o": "bind", "device": "/a\x00"},
	} {
		_, err := volume.New("data", "", options, nil, time.Time{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", options, err, want)
		}
	}
}

func TestRemoteHostIsReplaced(t *testing.T) {
	m := &volume.Mount{Type: "nfs4", Data: "addr=files.example,nolock"}
	if host, ok := m.Remote(); !ok || host != "files.example" {
		t.Errorf("got %q, %v", host, ok)
	}
	if got := m.WithRemote("10.0.0.2").Data; got != "addr=10.0.0.2,nolock" {
		t.Errorf("got %q", got)
	}
	if _, ok := (&volume.Mount{Type: "ext4", Data: "addr=x"}).Remote(); ok {
		t.Error("a local file system has no server")
	}
}

func TestSelection(t *testing.T) {
	named := &volume.Volume{Name: "data", Labels: map[string]string{"tier": "db"}}
	anonymous := &volume.Volume{Name: "x", Labels: map[string]string{volume.AnonymousLabel: ""}}
	for _, c := range []struct {
		s                      volume.Selection
		wantNamed, wantUnnamed bool
	}{
		{volume.Selection{}, false, true},
		{volume.Selection{All: true}, true, true},
		{volume.Selection{All: true, Labels: []string{"tier=db"}}, true, false},
		{volume.Selection{All: true, Labels: []string{"tier=web"}}, false, false},
		{volume.Selection{All: true, Exclude: []string{"tier"}}, false, true},
	} {
		if a, b := c.s.Includes(named), c.s.Includes(anonymous); a != c.wantNamed || b != c.wantUnnamed {
			t.Errorf("%+v: got %v, %v", c.s, a, b)
		}
	}
}
