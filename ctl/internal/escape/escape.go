// Package escape makes text of other programs, such as labels, image names and arguments, safe to
// print. Control characters could move the cursor, change printed text or insert input. The package
// performs no I/O besides the writer it is given.
package escape

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line escapes unprintable characters as in JSON or Go: line ends, tabs, control characters,
// invisible characters that change text direction, and invalid UTF-8. The result is one line.
func Line(s string) string { return escaped(s, false) }

// Text is Line for text with several lines: line ends and tabs are kept.
func Text(s string) string { return escaped(s, true) }

func escaped(s string, layout bool) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !plain(r, layout) }) {
		return s
	}

	var out strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, s[i])
		case plain(r, layout):
			out.WriteRune(r)
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\t':
			out.WriteString(`\t`)
		case r == '\r':
			out.WriteString(`\r`)
		case r > 0xffff:
			fmt.Fprintf(&out, `\U%08x`, r)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
		i += size
	}

	return out.String()
}

// plain reports whether a character may be shown as it is.
func plain(r rune, layout bool) bool {
	return r == ' ' || unicode.IsPrint(r) || layout && (r == '\n' || r == '\t')
}

// Writer returns a writer that escapes text with Text and writes it to w. Each Write must hold
// whole characters.
func Writer(w io.Writer) io.Writer { return writer{w} }

type writer struct{ io.Writer }

func (w writer) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.Writer, Text(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
