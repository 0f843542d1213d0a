// Package detachkeys finds the keys with which people leave a container's terminal, Ctrl-P Ctrl-Q, in what they type. It is pure.
package detachkeys

import (
	"bytes"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Default is the sequence that is looked for unless another is given.
const Default = "ctrl-p,ctrl-q"

// Parse reads a sequence as people write it: characters and ctrl-X, separated by commas. X is a letter or one of @ [ \ ] ^ _.
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
			return nil, fault.New(fault.Invalid, "--detach-keys "+s, "unknown key '"+k+"'", fault.WithField("detach-keys"),
				fault.WithHint("keys are single characters or ctrl-X, separated by commas"))
		}
	}
	return keys, nil
}

// Scanner looks for one sequence in a stream of typed bytes. A byte that may begin the sequence is held back until the next
// one shows whether it does.
type Scanner struct {
	keys []byte
	held []byte
}

// NewScanner makes a scanner for a sequence of at least one key.
func NewScanner(keys []byte) *Scanner { return &Scanner{keys: keys} }

// Scan takes what was typed and gives what is to be passed on. After found it must not be called again; what was typed behind
// the sequence is dropped.
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
