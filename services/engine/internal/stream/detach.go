package stream

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// defaultDetachKeys detach from a terminal.
const defaultDetachKeys = "ctrl-p,ctrl-q"

// ParseDetachKeys parses keys such as "ctrl-p,ctrl-q" or "a,ctrl-@". Empty means the default.
func ParseDetachKeys(text string) ([]byte, error) {
	if text == "" {
		text = defaultDetachKeys
	}
	var keys []byte
	for key := range strings.SplitSeq(text, ",") {
		control, ok := strings.CutPrefix(key, "ctrl-")
		switch {
		case !ok && len(key) == 1:
			keys = append(keys, key[0])
		case ok && len(control) == 1 && control[0] >= 'a' && control[0] <= 'z':
			keys = append(keys, control[0]-'a'+1)
		case ok && len(control) == 1 && (control[0] == '@' || control[0] >= '[' && control[0] <= '_'):
			keys = append(keys, control[0]-'@')
		default:
			return nil, httpapi.Errorf(http.StatusBadRequest, "Invalid detach keys (%.100s) provided", text)
		}
	}
	return keys, nil
}

// detachScanner finds the detach keys in input that arrives in parts.
type detachScanner struct {
	keys []byte // empty: none
	seen int    // matched so far, which are not forwarded yet
}

// scan returns the input to forward, and whether the keys were typed. It returns a part of data, or a new
// slice.
func (s *detachScanner) scan(data []byte) (forward []byte, detached bool) {
	if len(s.keys) == 0 {
		return data, false
	}
	if s.seen == 0 && bytes.IndexByte(data, s.keys[0]) < 0 {
		return data, false
	}
	for _, b := range data {
		if b == s.keys[s.seen] {
			if s.seen++; s.seen == len(s.keys) {
				return forward, true
			}
			continue
		}
		forward = append(forward, s.keys[:s.seen]...)
		if s.seen = 0; b == s.keys[0] {
			s.seen = 1
			continue
		}
		forward = append(forward, b)
	}
	return forward, false
}
