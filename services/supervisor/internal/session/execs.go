package session

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// keepExec limits the time that an exec is kept after its end, or without a start.
const keepExec = 5 * time.Minute

// execs holds the exec processes by ID. They are forgotten when the agent ends.
type execs struct {
	mu   sync.Mutex
	byID map[string]*execution
}

// execution is an exec process. execs.mu guards its fields.
type execution struct {
	container string
	req       ExecRequest
	started   bool
	resolved  chan struct{} // closed when the process runs or could not be started
	session   Session       // nil before the start
	ended     bool
	code      *int // nil if it is unknown; 126 or 127 if the process could not be started
	since     time.Time
}

// ExecState is the state of an exec process.
type ExecState struct {
	ID, Container string
	Request       ExecRequest
	Running       bool
	ExitCode      *int // nil until it has ended, and if it is unknown
	PID           int  // 0 before its start
}

// StartExec holds the options of the start of an exec process.
type StartExec struct {
	Detach     bool
	Rows, Cols uint16

	announce bool // emit the event of the creation, too
}

// CreateExec prepares an exec process in a running container and returns its ID.
func (s *Sessions) CreateExec(req ExecRequest) (string, error) {
	c, uid, err := s.create(req)
	if err == nil {
		s.Notices.ExecCreated(c, uid, req.Args)
	}
	return uid, err
}

func (s *Sessions) create(req ExecRequest) (*container.Container, string, error) {
	c, err := s.Store.FindContainer(req.Reference)
	if err != nil {
		return nil, "", err
	}

	if err := req.validate(c); err != nil {
		return nil, "", err
	}

	uid := id.New()
	s.execs.add(uid, &execution{container: c.ID, req: req, since: time.Now(),
		resolved: make(chan struct{})})
	return c, uid, nil
}

// StartExec starts an exec process. The Session is nil if it is detached.
func (s *Sessions) StartExec(ctx context.Context, uid string, opts StartExec) (*container.Container, Session, error) {
	e, err := s.execs.begin(uid)
	if err != nil {
		return nil, nil, err
	}

	c, err := s.Store.GetContainer(e.container)
	if err == nil {
		err = e.req.validate(c)
	}

	if err != nil {
		s.execs.end(uid, nil)
		return nil, nil, err
	}

	req := e.req
	req.Detach = opts.Detach
	if opts.Rows > 0 && opts.Cols > 0 {
		req.Rows, req.Cols = opts.Rows, opts.Cols
	}
	session, err := s.process(ctx, c, &req)
	if err != nil {
		s.execs.end(uid, failedCode(ctx, err))
		return nil, nil, err
	}

	s.execs.running(uid, session)
	if opts.announce {
		s.Notices.ExecCreated(c, uid, req.Args)
	}

	emitted := s.Notices.ExecStarted(c, uid, req.Args, func(ctx context.Context) (int, error) {
		code, err := session.Wait(ctx)
		if err == nil {
			s.execs.end(uid, &code)
		} else {
			s.execs.end(uid, nil)
		}
		return code, err
	})
	if req.Detach {
		return c, nil, nil
	}

	return c, eventSession{session, emitted}, nil
}

// Exit codes of processes that could not be started, as in shells.
const (
	notExecutable = 126
	notFound      = 127
)

// failedCode returns the exit code of an exec whose process could not be started because of err. It is
// unknown (nil) if the client has cancelled the start.
func failedCode(ctx context.Context, err error) *int {
	code := notExecutable
	switch {
	case ctx.Err() != nil:
		return nil
	case fault.ReasonOf(err) == fault.ReasonCommandNotFound:
		code = notFound
	}
	return &code
}

// ExecState returns the state of an exec process.
func (s *Sessions) ExecState(uid string) (ExecState, error) {
	s.execs.mu.Lock()
	defer s.execs.mu.Unlock()
	e := s.execs.byID[uid]
	if e == nil {
		return ExecState{}, noSuchExec(uid)
	}
	state := ExecState{ID: uid, Container: e.container, Request: e.req, Running: e.session != nil && !e.ended,
		ExitCode: e.code}
	if e.session != nil {
		state.PID = e.session.PID()
	}
	return state, nil
}

// resizeTimeout limits the wait of a resize for the start of its exec, as in Docker.
const resizeTimeout = 10 * time.Second

// ResizeExec sets the terminal size of an exec process. Clients send the size as soon as the start is
// accepted, so it waits until the process runs.
func (s *Sessions) ResizeExec(ctx context.Context, uid string, rows, cols uint16) error {
	s.execs.mu.Lock()
	e := s.execs.byID[uid]
	s.execs.mu.Unlock()
	if e == nil {
		return noSuchExec(uid)
	}

	limit := time.NewTimer(resizeTimeout)
	defer limit.Stop()
	select {
	case <-e.resolved:
	case <-limit.C:
	case <-ctx.Done():
		return ctx.Err()
	}

	s.execs.mu.Lock()
	session, ended := e.session, e.ended
	s.execs.mu.Unlock()
	if session == nil || ended {
		return fault.New(fault.Busy, "exec "+id.Short(uid), "is not running")
	}
	return session.Resize(rows, cols)
}

// ExecIDs returns the exec processes of a container that run.
func (s *Sessions) ExecIDs(uid string) []string {
	s.execs.mu.Lock()
	defer s.execs.mu.Unlock()
	var out []string
	for execID, e := range s.execs.byID {
		if e.container == uid && e.session != nil && !e.ended {
			out = append(out, execID)
		}
	}
	slices.Sort(out)
	return out
}

func noSuchExec(uid string) error {
	return fault.New(fault.NotFound, "exec "+id.Short(uid), "No such exec instance: "+uid)
}

// add adds an exec, and forgets old ones.
func (x *execs) add(uid string, e *execution) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byID == nil {
		x.byID = map[string]*execution{}
	}
	maps.DeleteFunc(x.byID, func(_ string, old *execution) bool {
		return (old.ended || !old.started) && time.Since(old.since) > keepExec
	})
	x.byID[uid] = e
}

// begin marks an exec as started. It can be started once.
func (x *execs) begin(uid string) (*execution, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.byID[uid]
	switch {
	case e == nil:
		return nil, noSuchExec(uid)
	case e.started:
		return nil, fault.New(fault.Conflict, "exec "+id.Short(uid), "Exec command "+uid+" has already run")
	}
	e.started = true
	return e, nil
}

func (x *execs) running(uid string, session Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.byID[uid]; e != nil {
		e.session = session
		close(e.resolved)
	}
}

func (x *execs) end(uid string, code *int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.byID[uid]; e != nil && !e.ended {
		if e.session == nil {
			close(e.resolved)
		}
		e.ended, e.code, e.since = true, code, time.Now()
	}
}
