package files_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/dnsagent/internal/files"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
)

var owner = strings.Repeat("0123456789abcdef", 4)

func contents(hosts string) registration.Contents {
	return registration.Contents{Hostname: []byte("web\n"), Hosts: []byte(hosts),
		ResolvConf: []byte("nameserver 1.1.1.1\n")}
}

func write(t *testing.T, f files.Publisher, hosts string) {
	t.Helper()
	if err := f.Write(owner, contents(hosts)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWriteKeepsInode(t *testing.T) {
	f := files.NewPublisher(filepath.Join(t.TempDir(), "dns"))
	write(t, f, "a long content\n")
	path := f.Paths(owner).Hosts
	before, err := os.Open(path) // refers to the inode, as a mount does
	if err != nil {
		t.Fatal(err)
	}

	defer before.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}

	write(t, f, "short\n")

	buf := make([]byte, 100)
	n, _ := before.Read(buf)
	if got := string(buf[:n]); got != "short\n" {
		t.Errorf("open file: got %q, want the new content", got)
	}

	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
		t.Errorf("got mode %v, %v, want 0644", info.Mode(), err)
	}
}

func TestWriteIgnoresUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	f := files.NewPublisher(filepath.Join(t.TempDir(), "dns"))
	write(t, f, "x")
	if info, err := os.Stat(f.Paths(owner).ResolvConf); err != nil || info.Mode() != 0o644 {
		t.Errorf("got mode %v, %v, want 0644", info.Mode(), err)
	}
}

func TestWriteDoesNotFollowLinks(t *testing.T) {
	dir := t.TempDir()
	f := files.NewPublisher(filepath.Join(dir, "dns"))
	write(t, f, "x")
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}

	path := f.Paths(owner).Hosts
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, path); err != nil {
		t.Fatal(err)
	}

	write(t, f, "y")
	if got := read(t, path); got != "y" {
		t.Errorf("hosts: got %q", got)
	}

	if got := read(t, victim); got != "precious" {
		t.Errorf("link target: got %q", got)
	}
}

func TestRestoreWritesMissingFilesOnly(t *testing.T) {
	f := files.NewPublisher(filepath.Join(t.TempDir(), "dns"))
	write(t, f, "x")
	p := f.Paths(owner)
	if err := os.WriteFile(p.Hosts, []byte("edited in the container\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p.Hostname); err != nil {
		t.Fatal(err)
	}
	if err := f.Restore(owner, contents("x")); err != nil {
		t.Fatal(err)
	}

	if got := read(t, p.Hosts); got != "edited in the container\n" {
		t.Errorf("hosts: got %q", got)
	}

	if got := read(t, p.Hostname); got != "web\n" {
		t.Errorf("hostname: got %q", got)
	}
}

func TestOwnersIgnoresOtherDirectories(t *testing.T) {
	root := filepath.Join(t.TempDir(), "deep", "dns")
	f := files.NewPublisher(root)
	if owners, err := f.Owners(); err != nil || len(owners) != 0 {
		t.Fatalf("before writing: got %v, %v", owners, err)
	}

	write(t, f, "x")
	if err := os.Mkdir(filepath.Join(root, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}

	if owners, err := f.Owners(); err != nil || len(owners) != 1 || owners[0] != owner {
		t.Errorf("got %v, %v", owners, err)
	}

	for range 2 {
		if err := f.Remove(owner); err != nil {
			t.Fatal(err)
		}
	}

	if owners, err := f.Owners(); err != nil || len(owners) != 0 {
		t.Errorf("after removal: got %v, %v", owners, err)
	}
}

func TestReadHostFilesReadsNeededFiles(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"etc/hostname", "etc/hosts", "run/systemd/resolve/resolv.conf"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	for source, want := range map[registration.FileSource]registration.HostFiles{
		registration.Generated: {ResolvedConf: []byte("run/systemd/resolve/resolv.conf")},
		registration.Host:      {Hostname: []byte("etc/hostname"), Hosts: []byte("etc/hosts")},
	} {
		if got, err := files.ReadHostFiles(root, source); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("source %d: got %q, %v, want %q", source, got, err, want)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "etc/resolv.conf"), 0o700); err != nil {
		t.Fatal(err)
	}

	if _, err := files.ReadHostFiles(root, registration.Generated); !fault.Is(err, fault.Unavailable) {
		t.Errorf("unreadable resolv.conf: got %v, want an Unavailable fault", err)
	}
}
