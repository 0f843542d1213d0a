// Package fault is the one vocabulary of errors that every room of Fairlead speaks.
//
// A Fault says what class of error it is, what it is about and what to do. Domain code makes faults; package
// proto/faultrpc turns them into gRPC statuses at the edge and back again in the client. Faults wrap their causes, so
// errors.Is and errors.As see through them. This package does no I/O and knows nothing of gRPC.
package fault

import (
	"errors"
	"fmt"
)

// Kind is the class of a fault. The values are those of fairlead.fault.v1.Kind.
type Kind int

// The classes. Their meaning, and the gRPC code that each becomes, is in proto/fairlead/fault/v1/fault.proto.
const (
	Invalid     Kind = 1
	NotFound    Kind = 2
	Exists      Kind = 3
	Busy        Kind = 4
	Denied      Kind = 5
	Unavailable Kind = 6
	Conflict    Kind = 7
	Exhausted   Kind = 8
	Internal    Kind = 9
)

// Stable words for programs, as Fault.Reason.
const (
	ReasonPortAllocated        = "PORT_ALLOCATED"         // another container has the host port
	ReasonAddressInUse         = "ADDRESS_IN_USE"         // a process of the host has the port
	ReasonCommandNotFound      = "COMMAND_NOT_FOUND"      // exit code 127
	ReasonCommandNotExecutable = "COMMAND_NOT_EXECUTABLE" // exit code 126
	ReasonNoSuchImage          = "NO_SUCH_IMAGE"
	ReasonNameInUse            = "NAME_IN_USE"
	ReasonConnectionLost       = "CONNECTION_LOST" // the agent, or the way to it, went away during a call
)

// Fault is an error with a class, a subject and a remedy.
type Fault struct {
	Kind    Kind
	Subject string // what it is about: `container "web"`, `port 0.0.0.0:8080/tcp`
	Field   string // the request's field or flag at fault; may be empty
	Message string // what is wrong, without the subject
	Hint    string // what to do; may be empty
	Reason  string // one of the Reason constants; may be empty
	Step    string // the launch step it happened in; may be empty
	Cause   error  // what it wraps; may be nil
}

// Error is one line, subject first: `port 0.0.0.0:8080/tcp: port is already allocated (held by container web); stop it …`.
func (f *Fault) Error() string {
	s := f.Message
	if f.Subject != "" {
		s = f.Subject + ": " + s
	}
	if f.Cause != nil {
		s += ": " + f.Cause.Error()
	}
	if f.Step != "" {
		s = f.Step + ": " + s
	}
	if f.Hint != "" {
		s += "; " + f.Hint
	}
	return s
}

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.Cause }

// New makes a fault. Options add to it.
func New(kind Kind, subject, message string, opts ...Option) *Fault {
	f := &Fault{Kind: kind, Subject: subject, Message: message}
	for _, o := range opts {
		o(f)
	}
	return f
}

// Option adds one thing to a fault.
type Option func(*Fault)

// WithCause says what went wrong underneath.
func WithCause(err error) Option { return func(f *Fault) { f.Cause = err } }

// WithHint says what the reader can do.
func WithHint(format string, args ...any) Option {
	return func(f *Fault) { f.Hint = fmt.Sprintf(format, args...) }
}

// WithField names the request's field or flag at fault.
func WithField(field string) Option { return func(f *Fault) { f.Field = field } }

// WithReason gives the word for programs.
func WithReason(reason string) Option { return func(f *Fault) { f.Reason = reason } }

// Invalidf says that a field of a request cannot be as it is.
func Invalidf(subject, field, format string, args ...any) *Fault {
	return New(Invalid, subject, fmt.Sprintf(format, args...), WithField(field))
}

// NotFoundf says that something is not there.
func NotFoundf(subject, format string, args ...any) *Fault {
	return New(NotFound, subject, fmt.Sprintf(format, args...))
}

// Wrap classifies an error that came from below. It keeps nil nil.
func Wrap(err error, kind Kind, subject, message string) error {
	if err == nil {
		return nil
	}
	return New(kind, subject, message, WithCause(err))
}

// KindOf is the class of the outermost fault in err's tree; Internal for other errors, 0 for nil.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		return f.Kind
	}
	return Internal
}

// ReasonOf is the word for programs of the outermost fault in err's tree that has one.
func ReasonOf(err error) string {
	for f, ok := errors.AsType[*Fault](err); ok; f, ok = errors.AsType[*Fault](f.Cause) {
		if f.Reason != "" {
			return f.Reason
		}
	}
	return ""
}

// Is tells whether err is a fault of that class.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
