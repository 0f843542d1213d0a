package container_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

func TestMountErrorsNameValue(t *testing.T) {
	mode := uint32(0o10000)
	m := func(kind container.MountType, source string) container.Mount {
		return container.Mount{Type: kind, Source: source, Target: "/t"}
	}
	with := func(m container.Mount, change func(*container.Mount)) container.Mount {
		change(&m)
		return m
	}
	const subpath = " must be relative and inside of the volume or image"
	for _, c := range []struct {
		m     container.Mount
		field string
		want  string // empty: valid
	}{
		{container.Mount{Source: "/a", Target: "t"}, "volume", `the target path "t" of a mount must be absolute`},
		{container.Mount{Source: "/a", Target: "//"}, "volume", "invalid specification: destination can't be '/'"},
		{m("", "/a\x00"), "volume", "a path of a mount contains a NUL byte"},
		{m("", "data"), "volume", `the source path "data" of a bind mount must be absolute`},
		{with(m("", "/a"), func(m *container.Mount) { m.Subpath = "x" }), "mount", "a bind mount has no subpath"},
		{with(m("", "/a"), func(m *container.Mount) { m.Propagation = "unbindable" }), "volume",
			`invalid propagation mode "unbindable"; one of private, rprivate, shared, rshared, slave, rslave`},
		{with(m("", "/a"), func(m *container.Mount) { m.TmpfsSize = 1 }), "mount",
			"options of a tmpfs require the mount type tmpfs"},
		{with(m("", "/a"), func(m *container.Mount) { m.NoCopy = true }), "", ""},
		{with(m("", "/a"), func(m *container.Mount) { m.Volume = &container.VolumeOptions{} }), "mount",
			"options of a volume require the mount type volume"},
		{with(m("volume", "data"), func(m *container.Mount) { m.Propagation = "shared" }), "mount",
			"options of a bind mount require the mount type bind"},
		{with(m("volume", "data"), func(m *container.Mount) { m.Subpath = "/x" }), "mount",
			`the subpath "/x"` + subpath},
		{with(m("volume", "data"), func(m *container.Mount) { m.Subpath = "a/../../b" }), "mount",
			`the subpath "a/../../b"` + subpath},
		{with(m("volume", "data"), func(m *container.Mount) { m.Subpath = "a/../b" }), "", ""},
		{with(m("volume", ""), func(m *container.Mount) { m.Subpath = "a" }), "mount",
			"must not set Subpath when using anonymous volumes"},
		{m("volume", ""), "", ""},
		{with(m("tmpfs", ""), func(m *container.Mount) { m.TmpfsOptions = []string{"size=1m", "noexec"} }), "", ""},
		{m("tmpfs", "x"), "mount", "a tmpfs mount must not have a source"},
		{with(m("tmpfs", ""), func(m *container.Mount) { m.Subpath = "x" }), "mount", "a tmpfs mount has no subpath"},
		{with(m("tmpfs", ""), func(m *container.Mount) { m.TmpfsSize = -1 }), "mount",
			"the size of a tmpfs must not be negative"},
		{with(m("tmpfs", ""), func(m *container.Mount) { m.TmpfsMode = &mode }), "mount",
			"the mode 10000 of a tmpfs exceeds 7777"},
		{with(m("tmpfs", ""), func(m *container.Mount) { m.CreateSource = true }), "mount",
			"options of a bind mount require the mount type bind"},
		{m("image", ""), "mount", "source is required for an image mount"},
		{m("image", "nginx"), "", ""},
		{m("npipe", "x"), "mount", `mount type unknown: "npipe"`},
	} {
		cfg := valid()
		cfg.Name, cfg.Mounts = "web", []container.Mount{c.m}
		err := cfg.Validate()
		if c.want == "" {
			if err != nil {
				t.Errorf("%+v: got %v", c.m, err)
			}
			continue
		}
		if f, ok := err.(*fault.Fault); !ok || f.Field != c.field || f.Error() != "container web: "+c.want {
			t.Errorf("%+v:\ngot  %v\nwant container web: %s", c.m, err, c.want)
		}
	}
}

func TestVolumeErrorsReachUser(t *testing.T) {
	for want, c := range map[string]container.Config{
		`container: invalid mode "x" for volumes-from`: {VolumesFrom: []string{"web:x"}},
		"volume a: volume name is too short, names should be at least two alphanumeric characters": {
			Mounts: []container.Mount{{Type: "volume", Source: "a", Target: "/t"}}},
		`volume data: missing required option: "device"`: {Mounts: []container.Mount{{Type: "volume", Source: "data",
			Target: "/t", Volume: &container.VolumeOptions{Options: map[string]string{"type": "nfs"}}}}},
		`container: Invalid tmpfs option ["bogus=1"]; use one of exec, noexec`: {Mounts: []container.Mount{
			{Type: "tmpfs", Target: "/t", TmpfsOptions: []string{"bogus=1"}}}},
	} {
		c.Image = "nginx"
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// TestMergedMountsProperty checks the order and the precedence of the mounts of all origins.
func TestMergedMountsProperty(t *testing.T) {
	target := rapid.SampledFrom([]string{"/a", "/a/", "/a/b", "/a/./b", "/c", "/a/b/d", "/c/../e"})
	mounts := func(t *rapid.T, source string) (out []container.Mount) {
		for _, p := range rapid.SliceOfN(target, 0, 4).Draw(t, source) {
			out = append(out, container.Mount{Source: source, Target: p})
		}
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		own, others := mounts(t, "/own"), mounts(t, "/others")
		paths := rapid.SliceOfN(rapid.OneOf(target, rapid.SampledFrom([]string{"/", "relative", "//"})), 0, 4).
			Draw(t, "paths")
		got := container.MergeMounts(own, others, paths)

		want := map[string]string{} // the source by target
		for _, p := range paths {
			if clean := path.Clean(p); path.IsAbs(p) && clean != "/" {
				want[clean] = ""
			}
		}
		for _, m := range slices.Concat(others, own) {
			want[path.Clean(m.Target)] = m.Source
		}
		if len(got) != len(want) {
			t.Fatalf("got %v, want the targets %v", got, want)
		}
		for i, m := range got {
			source, ok := want[m.Target]
			if !ok || m.Source != source || (source == "") != (m.Type == container.VolumeMount) {
				t.Fatalf("got %+v, want source %q", m, source)
			}
			for _, later := range got[i:] {
				if strings.HasPrefix(m.Target, later.Target+"/") {
					t.Fatalf("%s is mounted before %s", m.Target, later.Target)
				}
			}
		}
	})
}

func TestVolumesFromLeaveOutOwnFileSystems(t *testing.T) {
	c := &container.Container{ImageID: "i1", Config: container.Config{Mounts: []container.Mount{
		{Source: "/srv", Target: "/srv", CreateSource: true, Propagation: "rshared"},
		{Type: "volume", Source: "data", Target: "/data", Volume: &container.VolumeOptions{Driver: volume.Local}},
		{Type: "volume", Source: "a1", Target: "/cache", Anonymous: true, ReadOnly: true},
		{Type: "volume", Source: "data", Target: "/more"}, {Type: "tmpfs", Target: "/tmp"},
		{Type: "image", Source: "nginx", ImageID: "i2", Target: "/image"}}}}
	for _, readOnly := range []bool{false, true} {
		got := c.Shared(readOnly)
		if len(got) != 4 {
			t.Fatalf("got %+v, want bind mounts and volumes", got)
		}
		for i, m := range got {
			if m.ReadOnly != (readOnly || m.Target == "/cache") || !m.NoCopy || m.CreateSource || m.Volume != nil {
				t.Errorf("read-only %v: got %+v", readOnly, m)
			}
			if m.Source != c.Config.Mounts[i].Source || m.Propagation != c.Config.Mounts[i].Propagation {
				t.Errorf("got %+v from %+v", m, c.Config.Mounts[i])
			}
		}
	}
	if c.Config.Mounts[1].NoCopy || !c.Config.Mounts[0].CreateSource {
		t.Errorf("the mounts of the container are modified: %+v", c.Config.Mounts)
	}
	got := fmt.Sprint(c.Volumes(), c.AnonymousVolumes(), c.Images())
	if got != "[data a1] [a1] [i1 i2]" {
		t.Errorf("got volumes, anonymous volumes and images %s", got)
	}
}
