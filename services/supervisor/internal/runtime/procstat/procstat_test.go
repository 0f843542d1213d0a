package procstat

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const stat = "4211 (a) b (c)) S 1 4211 4211 0 -1 4194560 100 0 0 0 0 0 0 0 20 " +
		"0 1 0 7654321 1000 10 18446744073709551615 1"
	if all, err := parse(stat); err != nil || all[0] != "S" || all[6] != "4194560" || all[19] != "7654321" {
		t.Errorf("got %q, %v", all, err)
	}
	for _, bad := range []string{"", "1 (x) S 1", strings.Split(stat, " 7654321")[0]} {
		if all, err := parse(bad); err == nil {
			t.Errorf("%q: got %q, want an error", bad, all)
		}
	}
}

func TestStateOfProcesses(t *testing.T) {
	own := os.Getpid()
	if n, err := StartTime(own); err != nil || n == 0 || IsExiting(own) || IsStopped(own) || State(own) == "" {
		t.Errorf("own process: start time %d, %v, state %s", n, err, State(own))
	}

	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	gone := cmd.Process.Pid
	if _, err := StartTime(gone); err == nil || State(gone) != "" || !IsExiting(gone) || IsStopped(gone) {
		t.Errorf("ended process: got state %q, %v", State(gone), err)
	}
}

func TestReadPID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	for text, want := range map[string]int{"42\n": 42, "7": 7, "": 0, "x": 0, "-1": 0, "0": 0} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadPID(path); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("1 (x) S 1 1 1 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 5")
	f.Fuzz(func(_ *testing.T, stat string) { _, _ = parse(stat) })
}
