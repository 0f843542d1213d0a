package hostsfile_test

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/dnsagent/hostsfile"
)

// FuzzAnEditLeavesTheContainersOwnLines edits whatever a container made of its file: what it wrote stays, in its order; ours is there once,
// and goes again.
func FuzzAnEditLeavesTheContainersOwnLines(f *testing.F) {
	f.Add([]byte("127.0.0.1\tlocalhost\n10.1.0.2\tweb\n"), "web")
	f.Add([]byte("no end of line"), "web")
	f.Add([]byte("\n\n# 10.1.0.2\tweb\n10.1.0.2 web\n\x00\xff\r\n10.1.0.2\tweb"), "a.b")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		if !hostsfile.ValidName(name) {
			return
		}
		ours := []hostsfile.Record{{Addr: netip.MustParseAddr("10.1.0.2"), Names: []string{name}}}
		line := "10.1.0.2\t" + name + "\n"
		added := hostsfile.Edit(data, nil, ours)
		if !bytes.HasPrefix(added, data) || !strings.HasSuffix(string(added), line) || len(added) > len(data)+len(line)+1 {
			t.Fatalf("%q, with a record: %q", data, added)
		}
		if again := hostsfile.Edit(added, ours, ours); !bytes.Equal(again, added) {
			t.Fatalf("%q, to what it is: %q", added, again)
		}
		removed := hostsfile.Edit(added, ours, nil)
		want := slices.Collect(bytes.Lines(added))
		first := slices.IndexFunc(want, func(l []byte) bool { return string(l) == line })
		if want = slices.Delete(want, first, first+1); !bytes.Equal(removed, bytes.Join(want, nil)) {
			t.Fatalf("%q, without the record: %q", added, removed)
		}
	})
}
