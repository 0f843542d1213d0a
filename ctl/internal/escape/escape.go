// Package escape makes text that others have written, such as labels, names of images and arguments of processes, safe to show: no
// control character reaches the terminal, where it could move the cursor, change what stands there or type for the user. It
// performs no I/O.
package escape

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line writes what cannot be printed as in JSON or Go: line ends and tabs, control characters, invisible ones that change the order
// of others, and bytes that are not UTF-8. The result is one line.
func Line(s string) string { return escaped(s, false) }

// Text is Line for text that has lines and columns: line ends and tabs stay.
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

// Writer returns a writer that escapes text on its way to w. Each Write is taken for whole characters.
func Writer(w io.Writer) io.Writer { return writer{w} }

type writer struct{ io.Writer }

func (w writer) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.Writer, Text(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
