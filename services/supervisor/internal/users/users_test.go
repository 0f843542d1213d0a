package users

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

const (
	passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/var/www:/bin/false\nbare:x:7:7:::\n"
	group  = "root:x:0:\nwww:x:34:\nlogs:x:50:web,bare\nwheel:x:10:root\n"
)

func rootWith(t *testing.T, passwd, group string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"passwd": passwd, "group": group} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestResolveUser(t *testing.T) {
	root := rootWith(t, passwd, group)
	for spec, want := range map[string]User{
		"":          {Groups: []uint32{0, 10}, Home: "/root"},
		"root":      {Groups: []uint32{0, 10}, Home: "/root"},
		"web":       {UID: 33, GID: 34, Groups: []uint32{34, 50}, Home: "/var/www"},
		"33":        {UID: 33, GID: 34, Groups: []uint32{34, 50}, Home: "/var/www"},
		"web:logs":  {UID: 33, GID: 50, Groups: []uint32{50}, Home: "/var/www"},
		"web:99":    {UID: 33, GID: 99, Groups: []uint32{99}, Home: "/var/www"},
		"1000":      {UID: 1000, Groups: []uint32{0}, Home: "/"},
		"1000:1000": {UID: 1000, GID: 1000, Groups: []uint32{1000}, Home: "/"},
		"bare":      {UID: 7, GID: 7, Groups: []uint32{7, 50}, Home: "/"},
	} {
		if got, err := Resolve(root, spec); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Resolve(%q): got %+v, %v; want %+v", spec, got, err, want)
		}
	}
}

func TestUnknownNameIsInvalid(t *testing.T) {
	root := rootWith(t, passwd, group)
	for _, spec := range []string{"nobody", "web:nogroup", "-1", "root:", "99999999999"} {
		got, err := Resolve(root, spec)
		if spec == "root:" && err == nil {
			continue // an empty group means the user's own
		}
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), spec) {
			t.Errorf("Resolve(%q): got %+v, %v; want an invalid fault with the name", spec, got, err)
		}
	}
}

func TestResolveWithoutUserFiles(t *testing.T) {
	root := t.TempDir()
	if u, err := Resolve(root, "12:13"); err != nil || u.UID != 12 || u.GID != 13 || u.Home != "/" {
		t.Errorf("Resolve(12:13): got %+v, %v", u, err)
	}
	if _, err := Resolve(root, "web"); !fault.Is(err, fault.Invalid) {
		t.Errorf("Resolve(web): got %v, want invalid", err)
	}
}

func TestSymlinksStayInRootFileSystem(t *testing.T) {
	outside := rootWith(t, "evil:x:666:666::/:\n", "")
	root := rootWith(t, passwd, group)
	inside := filepath.Join(root, "etc/passwd")
	relink := func(target string) {
		t.Helper()
		if err := os.Remove(inside); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, inside); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{filepath.Join(outside, "etc/passwd"),
		"../../../../../../../.." + filepath.Join(outside, "etc/passwd")} {
		relink(target)
		if u, err := Resolve(root, "evil"); err == nil {
			t.Errorf("through %s: got %+v", target, u)
		}
	}

	if err := os.WriteFile(filepath.Join(root, "users"), []byte("kim:x:5:5::/:\n"), 0o644); err != nil {
		t.Fatal(err)
	}

	relink("/users")
	if u, err := Resolve(root, "kim"); err != nil || u.UID != 5 {
		t.Errorf("absolute symlink: got %+v, %v", u, err)
	}
}

func TestInvalidIDsAreIgnored(t *testing.T) {
	const ids = "minus:x:4294967295:1::/:\nwrap:x:4294967296:1::/:\nnegative:x:-1:1::/:\nword:x:root:1::/:\n" +
		"none:x::1::/:\n" +
		"group:x:1:4294967295::/:\nshort:x:1\nlast:x:4294967294:4294967294::/:\n"
	root := rootWith(t, ids, "all:x:4294967295:last\nbad:x:a:last\n")
	for _, spec := range []string{"minus", "wrap", "negative", "word", "none", "group", "short", "last:all",
		"last:bad", "4294967295"} {
		if got, err := Resolve(root, spec); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %+v, %v, want an invalid fault", spec, got, err)
		}
	}
	if got, err := Resolve(root, "last"); err != nil || got.UID != maxID ||
		!reflect.DeepEqual(got.Groups, []uint32{maxID}) {
		t.Errorf("last: got %+v, %v", got, err)
	}
}

func TestTooManyGroupsAreRejected(t *testing.T) {
	root := rootWith(t, passwd, strings.Repeat("g:x:1:web\n", maxGroups+1))
	if got, err := Resolve(root, "web"); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %d groups, %v, want an invalid fault", len(got.Groups), err)
	}
}

func TestIrregularFileIsRejected(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}

	if err := syscall.Mkfifo(filepath.Join(root, "etc/passwd"), 0o644); err != nil {
		t.Fatal(err)
	}

	done := make(chan error, 1)
	go func() { _, err := Resolve(root, "web"); done <- err }()
	select {
	case err := <-done:
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("Resolve: got %v, want invalid", err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("Resolve hangs on a named pipe")
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("web:logs", []byte(passwd), []byte(group))
	f.Add("", []byte(":::::::"), []byte(":::,,,"))
	f.Fuzz(func(t *testing.T, spec string, passwd, group []byte) {
		if u, err := resolve(spec, passwd, group); err == nil && u.Home == "" {
			t.Errorf("resolve(%q): got no home", spec)
		}
	})
}
