// Package envspec parses -e and --env-file into the KEY=VALUE list of a container. It performs no
// I/O: files and the client's environment are passed in.
package envspec

import (
	"bufio"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fairlead/fairlead/proto/fault"
)

// Lookup returns a variable of the client's environment, like os.LookupEnv.
type Lookup func(key string) (value string, ok bool)

// Parse parses the arguments of -e: KEY=VALUE, or KEY, which copies the client's variable if it is
// set.
func Parse(args []string, lookup Lookup) ([]string, error) {
	var out []string
	for _, a := range args {
		key, _, given := strings.Cut(a, "=")
		if key == "" {
			return nil, fault.Invalidf("-e "+a, "env", "invalid environment variable: %s", a)
		}
		if given {
			out = append(out, a)
		} else if v, ok := lookup(key); ok {
			out = append(out, key+"="+v)
		}
	}

	return out, nil
}

const byteOrderMark = "\uFEFF"

// ParseFile parses a file with one argument of -e on each line. Empty lines and lines that start
// with "#" are skipped. Values are used unchanged, including quotes.
func ParseFile(name string, r io.Reader, lookup Lookup) ([]string, error) {
	var out []string
	subject := "--env-file " + name
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if n == 1 {
			line = strings.TrimPrefix(line, byteOrderMark)
		}
		if !utf8.ValidString(line) {
			return nil, fault.Invalidf(subject, "env-file", "invalid utf8 bytes at line %d: %q", n, line)
		}
		line = strings.TrimLeftFunc(line, unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		key, _, _ := strings.Cut(line, "=")
		if key == "" {
			return nil, fault.Invalidf(subject, "env-file", "no variable name on line %d: '%s'", n, line)
		}
		if strings.ContainsFunc(key, unicode.IsSpace) {
			return nil, fault.Invalidf(subject, "env-file", "variable '%s' contains whitespaces (line %d)", key, n)
		}
		vars, err := Parse([]string{line}, lookup)
		if err != nil {
			return nil, err
		}
		out = append(out, vars...)
	}

	if err := lines.Err(); err != nil {
		return nil, fault.New(fault.Invalid, subject, "cannot be read", fault.WithField("env-file"),
			fault.WithCause(err))
	}

	return out, nil
}
