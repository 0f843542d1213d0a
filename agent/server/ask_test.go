package server_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// askAs runs TestAnotherUserIsRefused as another user, from a copy of the test's binary that the user may run.
func askAs(t *testing.T, socket string, who *syscall.Credential) string {
	t.Helper()
	binary := filepath.Join(filepath.Dir(socket), "asker")
	copyExecutable(t, binary)
	cmd := exec.CommandContext(bounded(t), binary, "-test.run=^TestAnotherUserIsRefused$", "-test.v")
	cmd.Dir, cmd.Env = "/", []string{"TEST_ASK=" + socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func copyExecutable(t *testing.T, to string) {
	t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	copied, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(copied, from); err != nil {
		t.Fatal(err)
	}
	if err := copied.Close(); err != nil {
		t.Fatal(err)
	}
}
