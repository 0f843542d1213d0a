package listen_test

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/listen"
	"github.com/fairlead/fairlead/proto/fault"
)

func hostAt(path string) config.Host { return config.Host{Network: "unix", Address: path} }

func open(t *testing.T, owners listen.Access, hosts ...config.Host) []net.Listener {
	t.Helper()
	all, err := listen.Open(t.Context(), hosts, owners)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, l := range all {
			_ = l.Close()
		}
	})
	return all
}

func TestASocketIsOpenToItsOwnersOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	l := open(t, listen.Access{Mode: 0o660, GID: os.Getegid()}, hostAt(path))[0]
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 || info.Sys().(*syscall.Stat_t).Gid != uint32(os.Getegid()) {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	_ = l.Close()
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is still there after closing")
	}
	open(t, listen.ServiceAccess(), hostAt(path))
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("a private socket has mode %v", info.Mode())
	}
}

func TestOnlyAStaleSocketIsReplaced(t *testing.T) {
	dir := t.TempDir()
	live, stale, plain := filepath.Join(dir, "live"), filepath.Join(dir, "stale"), filepath.Join(dir, "plain")
	open(t, listen.ServiceAccess(), hostAt(live))
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	if err := os.WriteFile(plain, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, kind := range map[string]fault.Kind{live: fault.Busy, plain: fault.Exists,
		filepath.Join(dir, "no", "x"): fault.Unavailable} {
		if _, err := listen.Open(t.Context(), []config.Host{hostAt(path)}, listen.ServiceAccess()); !fault.Is(err,
			kind) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if text, _ := os.ReadFile(plain); string(text) != "precious" {
		t.Error("a plain file was touched")
	}
	open(t, listen.ServiceAccess(), hostAt(stale))
}

func TestAllHostsAreOpenedOrNone(t *testing.T) {
	dir := t.TempDir()
	good := hostAt(filepath.Join(dir, "good"))
	if _, err := listen.Open(t.Context(), []config.Host{good, hostAt(filepath.Join(dir, strings.Repeat("x", 120)))},
		listen.ServiceAccess()); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(good.Address); !os.IsNotExist(err) {
		t.Errorf("the first host is still open: %v", err)
	}
	if n := len(open(t, listen.ServiceAccess(), good, config.Host{Network: "tcp", Address: "127.0.0.1:0"})); n != 2 {
		t.Errorf("%d listeners", n)
	}
}

func TestWithoutSystemdItsSocketsAreMissed(t *testing.T) {
	_, err := listen.Open(t.Context(), []config.Host{{Network: "fd"}}, listen.ServiceAccess())
	if err == nil || !strings.Contains(err.Error(), "host fd://: no socket was passed by systemd") {
		t.Errorf("%v", err)
	}
}

func TestAGroupThatWasNamedMustExist(t *testing.T) {
	if _, err := listen.PublicAccess("no-such-group"); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
	if o, err := listen.PublicAccess("root"); err != nil || o != (listen.Access{Mode: 0o660, GID: 0}) {
		t.Errorf("%v, %v", o, err)
	}
	if o, err := listen.PublicAccess(""); err != nil || o.Mode != fs.FileMode(0o660) {
		t.Errorf("%v, %v", o, err)
	}
}

func TestCertificatesThatCannotBeUsedAreNamed(t *testing.T) {
	cfg := &config.Config{TLSVerify: true, TLSCACert: "/no/ca", TLSCert: "/no/cert", TLSKey: "/no/key"}
	if _, err := listen.TLS(cfg); err == nil || !strings.HasPrefix(err.Error(),
		fmt.Sprintf("tlscert %s, tlskey %s: cannot be used", cfg.TLSCert, cfg.TLSKey)) {
		t.Errorf("%v", err)
	}
	if c, err := listen.TLS(&config.Config{}); c != nil || err != nil {
		t.Errorf("without tlsverify: %v, %v", c, err)
	}
}
