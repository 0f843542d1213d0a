package testcgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// applets lists the names of busybox that tests use.
const applets = `
	cat chmod cp date dd echo env false grep head hostname id ifconfig ip kill ls mkdir mount ps pwd
	readlink rm seq sh sleep stty tail touch true tty wc yes`

// Busybox creates a root file system with the static busybox of Debian and links for its applets.
// It skips the test if busybox is missing. With CI set, it fails the test instead.
func Busybox(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("this test needs busybox-static")
		}
		t.Skip("needs busybox-static")
	}

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	root := t.TempDir()
	for _, dir := range []string{"bin", "dev", "etc", "proc", "root", "sys", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), data, 0o755); err != nil {
		t.Fatal(err)
	}

	for _, name := range strings.Fields(applets) {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}
