package initproc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInitProcessFound(t *testing.T) {
	web, db := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	dir := t.TempDir()
	for _, p := range []struct{ pid, cgroup, stat string }{
		{"1", "0::/init.scope\n", "1 (systemd) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0"},
		{"70", "9:pids:/fairlead/" + web + "\n0::/\n", "70 (worker) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 700 0"},
		{"60", "9:pids:/fairlead/" + web + "\n0::/\n", "60 (a) b) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 600 0"},
		{"80", "0::/fairlead/" + db + "/inner/more\n", "80 (postgres) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 800 0"},
		{"50", "0::/fairlead/" + db + "\n", "50 (gone) Z 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 500 0"},
		{"self", "", ""},
	} {
		home := filepath.Join(dir, p.pid)
		if err := os.MkdirAll(home, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"cgroup": p.cgroup, "stat": p.stat} {
			if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "90"), 0o700); err != nil { // it has just ended
		t.Fatal(err)
	}
	got, err := in(dir)
	if err != nil || len(got) != 2 || got[web] != (Process{60, 600}) || got[db] != (Process{80, 800}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestOwnProcessesRead(t *testing.T) {
	if _, err := All(); err != nil {
		t.Error(err)
	}
}
