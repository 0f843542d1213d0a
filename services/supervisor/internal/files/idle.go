package files

import (
	"fmt"
	"io"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// idleTimeout is the time after which a client that neither sends nor reads loses its copy. The lock
// of a stopped container is held during a copy, and a start waits for it.
const idleTimeout = 30 * time.Second

// idleLimit limits the time of each read and write.
type idleLimit struct {
	r     io.Reader
	w     io.Writer
	limit time.Duration
}

// Read reads from the client. The data is copied, because a late read must not change p.
func (l idleLimit) Read(p []byte) (int, error) {
	buffer := make([]byte, len(p))
	n, err := l.do(func() (int, error) { return l.r.Read(buffer) })
	return copy(p, buffer[:n]), err
}

// Write writes to the client. The data is copied, because a late write must not read a changed p.
func (l idleLimit) Write(p []byte) (int, error) {
	buffer := append([]byte(nil), p...)
	return l.do(func() (int, error) { return l.w.Write(buffer) })
}

// do returns the result of f, or an error after the limit. f then ends with the call of the client.
func (l idleLimit) do(f func() (int, error)) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := f()
		done <- result{n, err}
	}()

	timer := time.NewTimer(l.limit)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.n, r.err
	case <-timer.C:
		return 0, fault.New(fault.Unavailable, "copy", fmt.Sprintf("the client was idle for %s", l.limit),
			fault.WithHint("a stopped container cannot be started during a copy; write the archive to a file first"))
	}
}
