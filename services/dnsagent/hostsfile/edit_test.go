package hostsfile_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/dnsagent/hostsfile"
)

func TestAnEditTakesOutExactLinesOnly(t *testing.T) {
	old, next := record("172.18.0.2", "web"), record("172.19.0.2", "web")
	for _, c := range []struct {
		name, before, after string
		remove, add         []hostsfile.Record
	}{
		{"a connect", "127.0.0.1\tlocalhost\n", "127.0.0.1\tlocalhost\n172.18.0.2\tweb\n", nil, []hostsfile.Record{old}},
		{"a disconnect", "127.0.0.1\tlocalhost\n172.18.0.2\tweb\n9.9.9.9 mine\n", "127.0.0.1\tlocalhost\n9.9.9.9 mine\n", []hostsfile.Record{old}, nil},
		{"another address", "172.18.0.2\tweb\n9.9.9.9 mine", "9.9.9.9 mine\n172.19.0.2\tweb\n", []hostsfile.Record{old}, []hostsfile.Record{next}},
		{"nothing new", "172.18.0.2\tweb\n9.9.9.9 mine\n", "172.18.0.2\tweb\n9.9.9.9 mine\n", []hostsfile.Record{old}, []hostsfile.Record{old}},
		{"the container has changed the line", "172.18.0.2\tweb mine\n", "172.18.0.2\tweb mine\n", []hostsfile.Record{old}, nil},
		{"the line is there twice", "172.18.0.2\tweb\n172.18.0.2\tweb\n", "172.18.0.2\tweb\n", []hostsfile.Record{old}, nil},
		{"an empty file", "", "172.18.0.2\tweb\n", nil, []hostsfile.Record{old}},
	} {
		if got := string(hostsfile.Edit([]byte(c.before), c.remove, c.add)); got != c.after {
			t.Errorf("%s: %q, want %q", c.name, got, c.after)
		}
	}
}

func TestAnEditAndItsOppositeLeaveWhatTheContainerHasWritten(t *testing.T) {
	records := rapid.SliceOfNDistinct(rapid.SampledFrom([]hostsfile.Record{record("10.0.0.1", "a"), record("10.0.0.2", "a"), record("fd00::1", "b", "c")}), 0, 3,
		func(r hostsfile.Record) string { return r.Addr.String() })
	rapid.Check(t, func(t *rapid.T) {
		from, to := records.Draw(t, "from"), records.Draw(t, "to")
		mine := "# " + rapid.StringMatching(`[a-z ]*`).Draw(t, "comment") + "\n"
		file := append(hostsfile.Render(from, true), mine...)
		there := hostsfile.Edit(file, from, to)
		for _, r := range to {
			if strings.Count(string(there), r.Addr.String()+"\t") != 1 {
				t.Fatalf("%v is not there once: %q", r, there)
			}
		}
		back := hostsfile.Edit(there, to, from)
		if strings.Count(string(back), mine) != 1 || len(back) != len(file) {
			t.Fatalf("%q became %q, and then %q", file, there, back)
		}
	})
}
