package containers

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/stream"
)

// TestBrokenLogClosesConnection: a client must not take a log that breaks off for a whole one.
func TestBrokenLogClosesConnection(t *testing.T) {
	line := &containerv1.ReadLogsResponse{Output: &containerv1.Output{Data: []byte("a line\n")}}
	lost := errors.New("the supervisor is gone")
	for name, c := range map[string]struct {
		entries int
		end     error
		aborted bool
		body    string
		err     error
	}{
		"whole":            {2, io.EOF, false, "a line\na line\n", nil},
		"empty":            {0, io.EOF, false, "", nil},
		"lost":             {1, lost, true, "a line\n", nil},
		"lost immediately": {0, lost, false, "", lost},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			out := logWriter{to: stream.NewResponse(w, "text/plain", false), stdout: true}
			left := c.entries
			var err error
			aborted := func() (aborted bool) {
				defer func() { aborted = recover() == http.ErrAbortHandler }()
				err = out.copy(func() (*containerv1.ReadLogsResponse, error) {
					if left == 0 {
						return nil, c.end
					}
					left--
					return line, nil
				})
				return false
			}()
			if aborted != c.aborted || w.Body.String() != c.body || !errors.Is(err, c.err) {
				t.Errorf("got aborted %t, %q, %v", aborted, w.Body, err)
			}
		})
	}
}
