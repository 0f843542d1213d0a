package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/agent/internal/server"
)

// TestOtherUserDenied runs itself again as the user nobody, which calls the server.
func TestOtherUserDenied(t *testing.T) {
	if path := os.Getenv("TEST_CALL_AS_USER"); path != "" {
		conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		fmt.Printf("code: %v\n", status.Code(list(bounded(t), conn)))
		return
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root to change the user")
		}
		t.Skip("needs root to change the user")
	}

	dir, err := os.MkdirTemp("", "server")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const otherUser, group = 65534, 54321
	for _, c := range []struct {
		name     string
		audience auth.Audience
		groups   []uint32
		want     codes.Code
	}{
		{"other user on public socket", auth.Admins, nil, codes.PermissionDenied},
		{"group member on public socket", auth.Admins, []uint32{group}, codes.OK},
		{"group member on service socket", auth.Peers, []uint32{group}, codes.PermissionDenied},
	} {
		path := filepath.Join(dir, "s")
		s, err := server.New(server.Config{Name: "test", Log: slog.New(slog.DiscardHandler), Audience: c.audience},
			(&names{list: func(context.Context) error { return nil }}).register)
		if err != nil {
			t.Fatal(err)
		}
		s.Ready()
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{os.Chmod(dir, 0o711), os.Chown(path, 0, group), os.Chmod(path, 0o666)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		go func() { _ = s.Serve(l) }()
		out := callAs(t, path, &syscall.Credential{Uid: otherUser, Gid: otherUser, Groups: c.groups})
		if want := "code: " + c.want.String() + "\n"; !strings.Contains(out, want) {
			t.Errorf("%s: got %s, want %s", c.name, out, want)
		}
		s.Stop(bounded(t))
	}
}

// callAs runs TestOtherUserDenied as another user, from a copy of the test binary that this user
// can execute, and returns its output.
func callAs(t *testing.T, socket string, user *syscall.Credential) string {
	t.Helper()
	binary := filepath.Join(filepath.Dir(socket), "client")
	copyExecutable(t, binary)
	cmd := exec.CommandContext(bounded(t), binary, "-test.run=^TestOtherUserDenied$", "-test.v")
	cmd.Dir, cmd.Env = "/", []string{"TEST_CALL_AS_USER=" + socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
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
