package httpapi

import (
	"context"
	"net/http"

	"github.com/fairlead/fairlead/agent/service"
)

// Continuation is work on a connection that was taken over. It runs after the handler has returned, so that
// what the server holds for the request does not occupy memory as long as the connection.
type Continuation struct {
	// Context is for the work. It has the client of the request, and ends when the server stops.
	Context context.Context

	done     func()
	panicked func(any)
	started  bool
}

// Continue returns a continuation. The handler must close it.
func (r *Request) Continue() *Continuation {
	ctx, done := service.Outlast(r.Context())
	return &Continuation{Context: ctx, done: done, panicked: r.panicked}
}

// Go runs the work in a goroutine of its own. A panic ends only the work.
func (c *Continuation) Go(work func()) {
	c.started = true
	done, panicked := c.done, c.panicked
	go func() {
		defer done()
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				panicked(v)
			}
		}()
		work()
	}()
}

// Close releases a continuation whose work was not started.
func (c *Continuation) Close() {
	if !c.started {
		c.done()
	}
}
