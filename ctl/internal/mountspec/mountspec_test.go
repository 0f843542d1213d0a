package mountspec_test

import (
	"path"
	"reflect"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/ctl/internal/mountspec"
)

const wd = "/home/me"

func TestParseVolume(t *testing.T) {
	for spec, want := range map[string]mountspec.Mount{
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
		"/data/":             {Type: mountspec.Volume, Target: "/data"},
		"data:/b":            {Type: mountspec.Volume, Source: "data", Target: "/b"},
		"a/b:/b":             {Type: mountspec.Volume, Source: "a/b", Target: "/b"}, // refused by the agent
		"data:/b:ro,nocopy":  {Type: mountspec.Volume, Source: "data", Target: "/b", ReadOnly: true, NoCopy: true},
	} {
		if want.Type == "" {
			want.Type, want.CreateSource = mountspec.Bind, true
		}
		if got, err := mountspec.ParseVolume(spec, wd); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseVolume(%q) = %+v, %v; want %+v", spec, got, err, want)
		}
	}
}

func TestInvalidMountsAreRejectedWithHint(t *testing.T) {
	for spec, want := range map[string]string{
		"data":         "invalid mount path: 'data' mount path must be absolute",
		"d:/b:shared":  "invalid mode: shared; use ro or rw, and nocopy",
		"/a:/b:nocopy": "invalid mode: nocopy",
		"a:b:c:d":      "invalid volume specification: 'a:b:c:d'",
		":/b":          "invalid volume specification: ':/b'",
		"/a::ro":       "invalid volume specification: '/a::ro'",
		"/a:b":         "invalid mount path: 'b' mount path must be absolute",
		"/a:/":         "destination can't be '/'",
		"/a:/b:ro,rw":  "invalid mode: ro,rw",
		"/a:/b:y":      "invalid mode: y; use ro or rw, and one of private",
	} {
		if _, err := mountspec.ParseVolume(spec, wd); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseVolume(%q): %v; want %q", spec, err, want)
		}
	}
}

func TestParseMount(t *testing.T) {
	mode := uint32(0o700)
	for spec, want := range map[string]mountspec.Mount{
		"type=bind,src=/a,dst=/b":                        {Source: "/a", Target: "/b"},
		"type=bind,source=./a,target=/b,readonly":        {Source: "/home/me/a", Target: "/b", ReadOnly: true},
		"readonly=false,type=BIND,src=/a,destination=/b": {Source: "/a", Target: "/b"},
		"type=bind,src=/a,dst=/b,ro=1,bind-propagation=rslave": {Source: "/a", Target: "/b", ReadOnly: true,
			Propagation: "rslave"},
		"type=bind,src=/a,dst=/b,consistency=cached":      {Source: "/a", Target: "/b"},
		`type=bind,"src=/a,with comma",dst=/b`:            {Source: "/a,with comma", Target: "/b"},
		"type=bind,src=/a,dst=/b,bind-recursive=disabled": {Source: "/a", Target: "/b", NonRecursive: true},
		"dst=/b": {Type: mountspec.Volume, Target: "/b"},
		"src=data,dst=/b,volume-nocopy,volume-subpath=a/b,ro": {Type: mountspec.Volume, Source: "data", Target: "/b",
			ReadOnly: true, NoCopy: true, Subpath: "a/b"},
		`src=data,dst=/b,volume-driver=local,volume-opt=type=nfs,"volume-opt=o=addr=h,rw",volume-label=k=v`: {
			Type: mountspec.Volume, Source: "data", Target: "/b", Driver: "local",
			Options: map[string]string{"type": "nfs", "o": "addr=h,rw"}, Labels: map[string]string{"k": "v"}},
		"type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=0700": {Type: mountspec.Tmpfs, Target: "/b", TmpfsSize: 1 << 20,
			TmpfsMode: &mode},
		"type=image,src=busybox,dst=/b,image-subpath=bin": {Type: mountspec.Image, Source: "busybox", Target: "/b",
			Subpath: "bin"},
	} {
		if want.Type == "" {
			want.Type = mountspec.Bind
		}
		if got, err := mountspec.ParseMount(spec, wd); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseMount(%q) = %+v, %v; want %+v", spec, got, err, want)
		}
	}

	for spec, want := range map[string]string{
		"type=bind":                                    "source is required",
		"type=bind,src=/a":                             "target is required",
		"type=bind,src=a,dst=/b":                       "invalid mount path: 'a' mount path must be absolute",
		"type=image,dst=/b":                            "source is required",
		"type=npipe,dst=/b":                            `mount type unknown: "npipe"`,
		"type=tmpfs,src=a,dst=/b":                      "a tmpfs mount must not have a source",
		"type=tmpfs,dst=/b,volume-nocopy":              "cannot mix 'volume-*' options with mount type 'tmpfs'",
		"type=volume,dst=/b,bind-propagation=shared":   "cannot mix 'bind-*' options with mount type 'volume'",
		"type=bind,src=/a,dst=/b,tmpfs-size=1":         "cannot mix 'tmpfs-*' options with mount type 'bind'",
		"type=tmpfs,dst=/b,tmpfs-size=much":            "invalid value for tmpfs-size: much",
		"type=tmpfs,dst=/b,tmpfs-mode=8":               "invalid value for tmpfs-mode: 8",
		"dst=/b,volume-label==v":                       `"=v" is not a valid NAME=VALUE`,
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
	for _, s := range []string{"/a:/b:ro", "./a:/b", "type=bind,src=/a,dst=/b,readonly", "d:/b:nocopy",
		"type=tmpfs,dst=/b,tmpfs-size=1m", `"`, ":::"} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string, string) (mountspec.Mount, error){mountspec.ParseVolume,
			mountspec.ParseMount} {
			b, err := parse(s, wd)
			if err == nil && (b.Type == mountspec.Bind && !path.IsAbs(b.Source) ||
				!path.IsAbs(b.Target) || b.Target == "/") {
				t.Fatalf("%q was read as %+v", s, b)
			}
		}
	})
}

func TestParseTmpfs(t *testing.T) {
	for in, want := range map[string]mountspec.Mount{
		"/run":                {Type: mountspec.Tmpfs, Target: "/run"},
		"/run/:rw,size=64m":   {Type: mountspec.Tmpfs, Target: "/run", TmpfsOptions: []string{"rw", "size=64m"}},
		"/a/../b:mode=1777":   {Type: mountspec.Tmpfs, Target: "/b", TmpfsOptions: []string{"mode=1777"}},
		"/t:mpol=bind:0,exec": {Type: mountspec.Tmpfs, Target: "/t", TmpfsOptions: []string{"mpol=bind:0", "exec"}},
	} {
		if got, err := mountspec.ParseTmpfs(in, "/wd"); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, error %v, want %+v", in, got, err, want)
		}
	}

	for in, want := range map[string]string{
		"": "must be absolute", "run": "must be absolute", "/": "destination can't be '/'",
		"/a:":       "has an empty option",
		"/a:rw,,ro": "has an empty option", ":rw": "must be absolute",
	} {
		if _, err := mountspec.ParseTmpfs(in, "/wd"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q", in, err, want)
		}
	}
}
