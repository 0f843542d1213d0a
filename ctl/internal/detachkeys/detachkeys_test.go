package detachkeys_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/ctl/internal/detachkeys"
)

func TestParseSequences(t *testing.T) {
	for s, want := range map[string]string{
		detachkeys.Default: "\x10\x11", "ctrl-A,x": "\x01x", "q": "q", "ctrl-@": "\x00", `ctrl-\`: "\x1c", "ctrl-],ctrl-_": "\x1d\x1f",
	} {
		if got, err := detachkeys.Parse(s); err != nil || string(got) != want {
			t.Errorf("Parse(%q) = %q, %v; want %q", s, got, err, want)
		}
	}

	for _, s := range []string{"", "foo", "ctrl-", "ctrl-1", "ctrl-aa", "a,,b", "ctrl-p,"} {
		if got, err := detachkeys.Parse(s); err == nil {
			t.Errorf("Parse(%q) = %q; want an error", s, got)
		}
	}
}

func TestScanRemovesSequence(t *testing.T) {
	for _, c := range []struct{ typed, pass string }{
		{"ls\r\x10\x11rest", "ls\r"},
		{"\x10a\x10\x10\x11", "\x10a\x10"},
		{"\x10|\x11", ""}, // in two reads
		{"a|\x10|b|\x10|\x11", "a\x10b"},
	} {
		s := detachkeys.NewScanner([]byte("\x10\x11"))
		var pass []byte
		found := false
		for part := range strings.SplitSeq(c.typed, "|") {
			var p []byte
			p, found = s.Scan([]byte(part))
			pass = append(pass, p...)
		}
		if !found || string(pass) != c.pass {
			t.Errorf("%q: passed on %q, found %v; want %q", c.typed, pass, found, c.pass)
		}
	}
}

func TestScanFindsSequenceAtAnyOffset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SampledFrom([]byte("ab"))
		keys := rapid.SliceOfN(alphabet, 1, 4).Draw(t, "keys")
		typed := rapid.SliceOfN(alphabet, 0, 30).Draw(t, "typed")
		s := detachkeys.NewScanner(keys)
		var pass []byte
		found := false
		for i := 0; i < len(typed) && !found; i++ {
			var p []byte
			p, found = s.Scan(typed[i : i+1])
			pass = append(pass, p...)
		}

		at := bytes.Index(typed, keys)
		if found != (at >= 0) || found && !bytes.Equal(pass, typed[:at]) || !found && !bytes.HasPrefix(typed, pass) {
			t.Fatalf("keys %q, typed %q: passed on %q, found %v", keys, typed, pass, found)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(detachkeys.Default)
	f.Fuzz(func(t *testing.T, s string) {
		if keys, err := detachkeys.Parse(s); err == nil && len(keys) == 0 {
			t.Fatalf("%q gave no keys", s)
		}
	})
}
