package mountspec_test

import (
	"path"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/ctl/internal/mountspec"
)

const wd = "/home/me"

func TestParseVolume(t *testing.T) {
	for spec, want := range map[string]mountspec.Bind{
		"/a:/b":              {Source: "/a", Target: "/b"},
		"/a/:/b/../c":        {Source: "/a", Target: "/c"},
		"./a:/b:ro":          {Source: "/home/me/a", Target: "/b", ReadOnly: true},
		".:/b":               {Source: "/home/me", Target: "/b"},
		"../x:/b":            {Source: "/home/x", Target: "/b"},
		"/:/host:ro,rshared": {Source: "/", Target: "/host", ReadOnly: true, Propagation: "rshared"},
		"/a:/b:rw":           {Source: "/a", Target: "/b"},
		"/a:/b:slave":        {Source: "/a", Target: "/b", Propagation: "slave"},
		"/a:/b:z":            {Source: "/a", Target: "/b"},
		"/a:/b:ro,Z":         {Source: "/a", Target: "/b", ReadOnly: true},
		"/a:/b:cached":       {Source: "/a", Target: "/b"},
		"/a:/b:delegated,ro": {Source: "/a", Target: "/b", ReadOnly: true},
		"/a:/b:consistent,z": {Source: "/a", Target: "/b"},
	} {
		want.CreateSource = true
		if got, err := mountspec.ParseVolume(spec, wd); err != nil || got != want {
			t.Errorf("ParseVolume(%q) = %+v, %v; want %+v", spec, got, err, want)
		}
	}
}

func TestInvalidMountsAreRejectedWithHint(t *testing.T) {
	for spec, want := range map[string]string{
		"/data":       "use a bind mount: HOST_PATH:CONTAINER_PATH",
		"data:/b":     "use an absolute path or ./data",
		"a:b:c:d":     "invalid volume specification: 'a:b:c:d'",
		":/b":         "invalid volume specification: ':/b'",
		"/a::ro":      "invalid volume specification: '/a::ro'",
		"/a:b":        "invalid mount path: 'b' mount path must be absolute",
		"/a:/":        "destination can't be '/'",
		"/a:/b:ro,rw": "invalid mode: ro,rw",
		"/a:/b:y":     "invalid mode: y; use ro or rw, and one of private",
	} {
		if _, err := mountspec.ParseVolume(spec, wd); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseVolume(%q): %v; want %q", spec, err, want)
		}
	}
}

func TestParseMount(t *testing.T) {
	for spec, want := range map[string]mountspec.Bind{
		"type=bind,src=/a,dst=/b":                        {Source: "/a", Target: "/b"},
		"type=bind,source=./a,target=/b,readonly":        {Source: "/home/me/a", Target: "/b", ReadOnly: true},
		"readonly=false,type=BIND,src=/a,destination=/b": {Source: "/a", Target: "/b"},
		"type=bind,src=/a,dst=/b,ro=1,bind-propagation=rslave": {Source: "/a", Target: "/b", ReadOnly: true,
			Propagation: "rslave"},
		"type=bind,src=/a,dst=/b,consistency=cached": {Source: "/a", Target: "/b"},
		`type=bind,"src=/a,with comma",dst=/b`:       {Source: "/a,with comma", Target: "/b"},
	} {
		if got, err := mountspec.ParseMount(spec, wd); err != nil || got != want {
			t.Errorf("ParseMount(%q) = %+v, %v; want %+v", spec, got, err, want)
		}
	}

	for spec, want := range map[string]string{
		"type=bind":                                    "source is required",
		"type=bind,src=/a":                             "target is required",
		"type=bind,src=a,dst=/b":                       "invalid mount path: 'a' mount path must be absolute",
		"src=/a,dst=/b":                                "mount type volume is not supported; use type=bind",
		"type=tmpfs,dst=/b":                            "mount type tmpfs is not supported",
		"type=bind,src=/a,dst=/b,x=y":                  "unexpected key 'x' in 'x=y'",
		"type=bind,src=/a,dst=/b,ro=maybe":             "invalid value for ro: maybe",
		`type=bind,"src=/a`:                            "invalid mount specification",
		"type=bind,src=/a,dst=/b,bind-propagation=far": `invalid propagation mode "far"`,
		"": "invalid mount specification",
	} {
		if _, err := mountspec.ParseMount(spec, wd); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseMount(%q): %v; want %q", spec, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"/a:/b:ro", "./a:/b", "type=bind,src=/a,dst=/b,readonly", `"`, ":::"} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string, string) (mountspec.Bind, error){mountspec.ParseVolume,
			mountspec.ParseMount} {
			b, err := parse(s, wd)
			if err == nil && (!path.IsAbs(b.Source) || !path.IsAbs(b.Target) || b.Target == "/") {
				t.Fatalf("%q was read as %+v", s, b)
			}
		}
	})
}
