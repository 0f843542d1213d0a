package processlist

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestListOwnProcess(t *testing.T) {
	for name, c := range map[string]struct{ args, titles []string }{
		"default": {nil, []string{"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"}},
		"aux": {[]string{"aux"},
			[]string{"USER", "PID", "%CPU", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND"}},
		"list":   {[]string{"-o", "pid,comm=NAME"}, []string{"PID", "NAME"}},
		"joined": {[]string{"-eopid", "-oargs"}, []string{"PID", "COMMAND"}},
	} {
		got, err := List([]int{os.Getpid(), 1 << 30}, c.args)
		if err != nil || !slices.Equal(got.Titles, c.titles) || len(got.Rows) != 1 ||
			len(got.Rows[0]) != len(c.titles) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}

	for _, args := range [][]string{{"--forest"}, {"-o"}, {"-o", "pid,nosuch"}} {
		if _, err := List(nil, args); err == nil {
			t.Errorf("%q: got no error", args)
		}
	}
}

func TestColumnsMatchPs(t *testing.T) {
	p, ok := parseStat("42 (a) b) S 7 42 42 34817 42 0 0 0 0 0 150 50 0 0 20 5 3 0 1000 2048000 100 1844674407370955")
	if !ok {
		t.Fatal("not parsed")
	}

	h := host{now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), memory: 1 << 20}
	h.booted = h.now.Add(-110 * time.Second) // the process has run for 100 seconds
	for name, want := range map[string]string{"pid": "42", "ppid": "7", "comm": "a) b", "tty": "pts/1", "stat": "SNsl+",
		"time": "00:00:02", "bsdtime": "0:02", "c": "2", "%cpu": "2.0", "vsz": "2000",
		"etime": "01:40", "stime": "11:58",
		"ni": "5", "nlwp": "3"} {
		found, err := find([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		if got := found[0].value(p, h); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}

	if got := elapsed(25*time.Hour + 61*time.Second); got != "1-01:01:01" {
		t.Errorf("got %s", got)
	}
}
