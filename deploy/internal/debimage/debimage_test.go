package debimage_test

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/fairlead/fairlead/deploy/internal/debimage"
)

// cache is shared with the scripts and the demo.
const cache = "../../../.cache"

func TestBusyboxContents(t *testing.T) {
	files := contents(t, debimage.Cache.Busybox, 1)
	for _, name := range []string{"usr/bin/busybox", "usr/bin/sh", "usr/bin/ifconfig", "usr/bin/true", "etc/passwd"} {
		if _, ok := files[name]; !ok {
			t.Errorf("the image has no %s", name)
		}
	}
}

func TestNginxContents(t *testing.T) {
	files := contents(t, debimage.Cache.Nginx, 3)
	for _, name := range []string{"usr/sbin/nginx", "usr/share/nginx/html/index.html", "usr/bin/sh"} {
		if _, ok := files[name]; !ok {
			t.Errorf("the image has no %s", name)
		}
	}

	if !strings.Contains(files["etc/nginx/nginx.conf"], "listen 80;") {
		t.Errorf("nginx.conf is %q", files["etc/nginx/nginx.conf"])
	}

	var libc bool
	for name := range files {
		libc = libc || strings.HasSuffix(name, "/libc.so.6")
	}

	if !libc {
		t.Error("the image has no libc.so.6")
	}
}

// contents are an image's files, those of its configuration with what is in them.
func contents(t *testing.T, make func(debimage.Cache, context.Context) (v1.Image, error),
	layers int) map[string]string {
	t.Helper()

	if _, err := exec.LookPath("apt-get"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("this test needs apt-get installed")
		}
		t.Skip("needs apt-get installed: images are made of Debian's packages")
	}

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	img, err := make(debimage.Cache{Dir: cache}, ctx)
	if err != nil {
		t.Fatal(err)
	}

	if all, err := img.Layers(); err != nil || len(all) != layers {
		t.Errorf("%d layers, want %d (%v)", len(all), layers, err)
	}

	stream := mutate.Extract(img)
	defer stream.Close()
	files := map[string]string{}
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = ""
		if h.Typeflag == tar.TypeReg && strings.HasPrefix(h.Name, "etc/") {
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			files[h.Name] = string(data)
		}
	}
}
