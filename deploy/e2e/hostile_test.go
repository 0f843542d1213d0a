package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// hostile is a malicious image: layers on top of busybox, and a change of the configuration. victim
// is the directory of the host that must not change.
type hostile struct {
	layers func(victim string) [][]*tar.Header
	config func(c *v1.Config)
}

// hostileImages returns the attacks by name.
func hostileImages() map[string]hostile {
	link := func(name, target string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}
	}
	dir := func(name string) *tar.Header { return &tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
	file := func(name string) *tar.Header { return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644} }
	one := func(entries func(victim string) []*tar.Header) hostile {
		return hostile{layers: func(victim string) [][]*tar.Header { return [][]*tar.Header{entries(victim)} }}
	}
	linked := func(names ...string) hostile {
		return one(func(victim string) (out []*tar.Header) {
			for _, n := range names {
				out = append(out, link(n, victim))
			}
			return out
		})
	}
	config := func(change func(*v1.Config)) hostile {
		return hostile{layers: func(string) [][]*tar.Header { return nil }, config: change}
	}
	return map[string]hostile{
		"dev":      linked("dev"),
		"dev-both": one(func(v string) []*tar.Header { return []*tar.Header{link("dev", v), dir(v)} }),
		"proc":     linked("proc"),
		"sys":      linked("sys"),
		"all":      linked("dev", "proc", "sys"),
		"shm":      linked("dev/shm", "dev/pts", "dev/mqueue", "dev/console"),
		"etc":      linked("etc"),
		"opt":      linked("opt"),
		"hosts":    linked("etc/hosts", "etc/hostname", "etc/resolv.conf"),
		"up": one(func(v string) []*tar.Header {
			return []*tar.Header{link("dev", strings.Repeat("../", 30)+v), link("proc", "/dev")}
		}),
		"dev-file": one(func(string) []*tar.Header { return []*tar.Header{file("dev"), file("proc"), file("sys")} }),
		"new-file": one(func(v string) []*tar.Header {
			return []*tar.Header{link("etc/hosts", v+"/created"), link("data", v+"/made")}
		}),
		"work": one(func(v string) []*tar.Header { return []*tar.Header{link("work", v+"/made")} }),
		"leak": one(func(string) []*tar.Header { return []*tar.Header{link("work", "/proc/self/fd/7")} }),
		"whiteout": one(func(v string) []*tar.Header {
			return []*tar.Header{file("a/.wh." + path.Base(v)), link("a", path.Dir(v))}
		}),
		"opaque": one(func(v string) []*tar.Header {
			return []*tar.Header{link("a", v), file("a/.wh..wh..opq"), file("a/new")}
		}),
		"passwd-device": one(func(string) []*tar.Header {
			return []*tar.Header{{Name: "etc/passwd", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5, Mode: 0o644}}
		}),
		"passwd-fifo": one(func(string) []*tar.Header {
			return []*tar.Header{{Name: "etc/group", Typeflag: tar.TypeFifo, Mode: 0o644}}
		}),
		"ports": config(func(c *v1.Config) {
			c.ExposedPorts = map[string]struct{}{}
			for n := range 40_000 {
				c.ExposedPorts[fmt.Sprintf("%d/tcp", n+1)] = struct{}{}
			}
		}),
		"ranges": config(func(c *v1.Config) {
			c.ExposedPorts = map[string]struct{}{}
			for n := range 4000 {
				c.ExposedPorts[fmt.Sprintf("%d-65535/tcp", n+1)] = struct{}{}
			}
		}),
		"big-labels": config(func(c *v1.Config) { c.Labels = map[string]string{"big": strings.Repeat("x", 900<<10)} }),
		"labels":     config(func(c *v1.Config) { c.Labels = map[string]string{"big": strings.Repeat("x", 6<<20)} }),
		"workdir":    config(func(c *v1.Config) { c.WorkingDir = "/proc/self/fd/7" }),
		"relative":   config(func(c *v1.Config) { c.WorkingDir = "../../.." }),
		"env":        config(func(c *v1.Config) { c.Env = append(c.Env, "NOVALUE") }),
	}
}

// hostileImage is the command hostile-image ATTACK VICTIM FILE. It writes an image archive: busybox
// with an attack on a directory of the host.
func (e fixture) hostileImage(ts *testscript.TestScript, _ bool, args []string) {
	attack, ok := hostileImages()[args[0]]
	if !ok {
		ts.Fatalf("unknown attack %s, want one of %v", args[0], slices.Sorted(maps.Keys(hostileImages())))
	}

	img := e.images["library/busybox:latest"]
	for _, entries := range attack.layers(args[1]) {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return archiveOf(entries) })
		must(ts, err)
		img, err = mutate.AppendLayers(img, layer)
		must(ts, err)
	}

	if attack.config != nil {
		cfg, err := img.ConfigFile()
		must(ts, err)
		cfg = cfg.DeepCopy()
		attack.config(&cfg.Config)
		img, err = mutate.ConfigFile(img, cfg)
		must(ts, err)
	}

	tag, err := name.NewTag("hostile:" + args[0])
	must(ts, err)
	f, err := os.Create(ts.MkAbs(args[2]))
	must(ts, err)
	must(ts, errors.Join(tarball.Write(tag, img, f), f.Close()))
}

// untouched is the program `untouched DIR`. It fails if DIR was changed. It must have mode 0755, no
// extended attributes, and one file named secret that contains its name.
func untouched() {
	dir := os.Args[1]
	info, err := os.Lstat(dir)
	entries, lerr := os.ReadDir(dir)
	content, rerr := os.ReadFile(dir + "/secret")
	attributes := make([]byte, 4096)
	n, xerr := unix.Llistxattr(dir, attributes)
	if err := errors.Join(err, lerr, rerr, xerr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}

	if info.Mode() != os.ModeDir|0o755 || n > 0 || len(entries) != 1 || string(content) != "secret\n" {
		fmt.Fprintf(os.Stderr, "changed: %s, attributes %q, %v, %q\n", info.Mode(), attributes[:n], entries, content)
		os.Exit(1)
	}
}

func archiveOf(entries []*tar.Header) (io.ReadCloser, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range entries {
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(&buf), w.Close()
}
