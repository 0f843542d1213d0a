// Package detachkeys finds the key sequence that detaches a terminal, such as Ctrl-P Ctrl-Q, in
// typed input. It performs no I/O.
package detachkeys

import (
	"bytes"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Default is the default key sequence.
const Default = "ctrl-p,ctrl-q"

// Parse parses a sequence of characters and ctrl-X, separated by commas. X is a letter or one of @
// [ \ ] ^ _.
func Parse(s string) ([]byte, error) {
	var keys []byte
	for k := range strings.SplitSeq(s, ",") {
		name, ctrl := strings.CutPrefix(strings.ToLower(k), "ctrl-")
		switch {
		case ctrl && len(name) == 1 && (name[0] >= '@' && name[0] <= '_' || name[0] >= 'a' && name[0] <= 'z'):
			keys = append(keys, strings.ToUpper(name)[0]-'@')
		case len(k) == 1:
			keys = append(keys, k[0])
		default:
			return nil, fault.New(fault.Invalid, "--detach-keys "+s, "unknown key '"+k+"'",
				fault.WithField("detach-keys"),
				fault.WithHint("use single characters or ctrl-X, separated by commas"))
		}
	}

	return keys, nil
}

// Scanner finds one sequence in a stream of bytes. Bytes that can start the sequence are held back
// until the next byte decides.
type Scanner struct {
	keys []byte
	held []byte
}

// NewScanner returns a scanner for a sequence of at least one key.
func NewScanner(keys []byte) *Scanner { return &Scanner{keys: keys} }

// Scan returns the bytes to forward and whether the sequence was found. Bytes after the sequence
// are dropped. Scan must not be called after found.
func (s *Scanner) Scan(typed []byte) (pass []byte, found bool) {
	for _, b := range typed {
		s.held = append(s.held, b)
		for !bytes.HasPrefix(s.keys, s.held) {
			pass = append(pass, s.held[0])
			s.held = s.held[1:]
		}
		if len(s.held) == len(s.keys) {
			return pass, true
		}
	}
	return pass, false
}
