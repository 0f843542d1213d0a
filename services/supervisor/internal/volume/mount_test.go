package volume_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// pairs returns the flags of mount(8) with the option that sets and the option that clears each.
func pairs() map[uintptr][2]string {
	return map[uintptr][2]string{
		unix.MS_RDONLY: {"ro", "rw"}, unix.MS_NOSUID: {"nosuid", "suid"}, unix.MS_NODEV: {"nodev", "dev"},
		unix.MS_NOEXEC: {"noexec", "exec"}, unix.MS_SYNCHRONOUS: {"sync", "async"},
		unix.MS_MANDLOCK: {"mand", "nomand"}, unix.MS_NOATIME: {"noatime", "atime"},
		unix.MS_NODIRATIME: {"nodiratime", "diratime"}, unix.MS_RELATIME: {"relatime", "norelatime"},
		unix.MS_STRICTATIME: {"strictatime", "nostrictatime"},
	}
}

func mountOf(t testing.TB, options string) *volume.Mount {
	t.Helper()
	v := &volume.Volume{Name: "data", Options: map[string]string{"type": "x", "device": "/d", "o": options}}
	m, err := v.Mount()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLastOfOpposedOptionsWins(t *testing.T) {
	for flag, p := range pairs() {
		for options, want := range map[string]uintptr{p[0]: flag, p[1]: 0, p[1] + "," + p[0]: flag,
			p[0] + "," + p[1]: 0, "defaults," + p[0]: flag, p[0] + ",defaults": flag} {
			if m := mountOf(t, options); m.Flags != want || m.Data != "" || m.IsBind() {
				t.Errorf("%s: got flags %#x, data %q; want %#x", options, m.Flags, m.Data, want)
			}
		}
	}
}

func TestPropagationIsNoFlag(t *testing.T) {
	for option, want := range map[string]uintptr{"private": unix.MS_PRIVATE, "shared": unix.MS_SHARED,
		"slave": unix.MS_SLAVE, "unbindable": unix.MS_UNBINDABLE} {
		one, all := mountOf(t, "bind,"+option), mountOf(t, "bind,r"+option)
		if one.Propagation != want || all.Propagation != want|unix.MS_REC {
			t.Errorf("%s: got %#x, recursive %#x", option, one.Propagation, all.Propagation)
		}
		if one.Flags != unix.MS_BIND || all.Flags != unix.MS_BIND {
			t.Errorf("%s: got flags %#x, recursive %#x; the kernel ignores them together", option, one.Flags, all.Flags)
		}
	}
	if got := mountOf(t, "rshared,slave").Propagation; got != unix.MS_SLAVE {
		t.Errorf("got %#x, want the last propagation", got)
	}
}

// TestMountOptionsProperty compares the parser with a model: every option either decides its flag, by
// the last one given, or reaches the file system unchanged and in order.
func TestMountOptionsProperty(t *testing.T) {
	byOption := map[string]uintptr{}
	var known []string
	for flag, p := range pairs() {
		byOption[p[0]], byOption[p[1]] = flag, flag
		known = append(known, p[0], p[1])
	}
	slices.Sort(known)

	rapid.Check(t, func(t *rapid.T) {
		other := rapid.SampledFrom([]string{"size=10m", "uid=0", "lowerdir=/a:/b", "RO", "readonly", " ro"})
		list := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(known), other), 0, 12).Draw(t, "options")
		var flags uintptr
		var data []string
		for _, o := range list {
			flag, ok := byOption[o]
			switch {
			case !ok:
				data = append(data, o)
			case pairs()[flag][0] == o:
				flags |= flag
			default:
				flags &^= flag
			}
		}

		v := &volume.Volume{Name: "data", Options: map[string]string{"type": "x", "device": "/d",
			"o": strings.Join(list, ",")}}
		for range 2 { // the result of the first call does not change the second
			m, err := v.Mount()
			if err != nil || m.Flags != flags || m.Data != strings.Join(data, ",") || m.Propagation != 0 {
				t.Fatalf("%v: got %+v, %v; want flags %#x, data %v", list, m, err, flags, data)
			}
		}
	})
}

func TestRemoteReplacementKeepsOthers(t *testing.T) {
	for _, c := range []struct {
		kind, data, host, replaced string
		ok                         bool
	}{
		{"nfs", "nolock,addr=files.example,vers=4", "files.example", "nolock,addr=192.0.2.7,vers=4", true},
		{"cifs", "addr=nas,username=u", "nas", "addr=192.0.2.7,username=u", true},
		{"nfs", "nolock,clientaddr=10.0.0.1", "", "nolock,clientaddr=10.0.0.1", false},
		{"nfs", "", "", "", false},
		{"tmpfs", "size=1m", "", "size=1m", false},
	} {
		m := &volume.Mount{Type: c.kind, Device: ":/x", Data: c.data, Flags: unix.MS_RDONLY}
		if host, ok := m.Remote(); host != c.host || ok != c.ok {
			t.Errorf("%s %s: got host %q, %v", c.kind, c.data, host, ok)
		}
		got := m.WithRemote("192.0.2.7")
		if want := (volume.Mount{Type: c.kind, Device: ":/x", Data: c.replaced, Flags: unix.MS_RDONLY}); *got != want {
			t.Errorf("%s %s: got %+v, want %+v", c.kind, c.data, *got, want)
		}
		if m.Data != c.data {
			t.Errorf("%s: the original has data %q", c.kind, m.Data)
		}
	}
}
