package escape_test

import (
	"bytes"
	"testing"

	"github.com/fairlead/fairlead/ctl/internal/escape"
)

func TestControlCharactersAreEscaped(t *testing.T) {
	for _, c := range []struct{ text, line, layout string }{
		{"plain text, Grüße, 日本", "plain text, Grüße, 日本", "plain text, Grüße, 日本"},
		{"", "", ""},
		{"a\x1b[2Jb", `a\u001b[2Jb`, `a\u001b[2Jb`},
		{"a\nb\tc\r", `a\nb\tc\r`, "a\nb\tc\\r"},
		{"\u009b31m", `\u009b31m`, `\u009b31m`},
		{"\x7f\x00", `\u007f\u0000`, `\u007f\u0000`},
		{"abc\u202ecba", `abc\u202ecba`, `abc\u202ecba`},
		{"\xff\xfe", `\xff\xfe`, `\xff\xfe`},
		{"\ufffd", "\ufffd", "\ufffd"},
		{"\U000e0041", `\U000e0041`, `\U000e0041`},
	} {
		if got := escape.Line(c.text); got != c.line {
			t.Errorf("Line(%q): got %q, want %q", c.text, got, c.line)
		}
		if got := escape.Text(c.text); got != c.layout {
			t.Errorf("Text(%q): got %q, want %q", c.text, got, c.layout)
		}
		var out bytes.Buffer
		if n, err := escape.Writer(&out).Write([]byte(c.text)); n != len(c.text) || err != nil ||
			out.String() != c.layout {
			t.Errorf("Write(%q): got %q, %d, %v", c.text, out.String(), n, err)
		}
	}
}
