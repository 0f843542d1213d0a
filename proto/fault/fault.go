// Package fault defines the error type of all packages.
//
// A Fault has a class, a subject and a hint. Domain code creates faults; package proto/faultrpc
// converts them to gRPC statuses in the server and back in the client. Faults wrap their causes, so
// errors.Is and errors.As work. This package performs no I/O and does not depend on gRPC.
package fault

import (
	"errors"
	"fmt"
)

// Kind is the class of a fault. The values are those of fairlead.fault.v1.Kind.
type Kind int

// The classes. See proto/fairlead/fault/v1/fault.proto for their meaning and gRPC codes.
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

// Machine-readable values of Fault.Reason.
const (
	ReasonPortAllocated        = "PORT_ALLOCATED"         // the host port belongs to another container
	ReasonAddressInUse         = "ADDRESS_IN_USE"         // the port is in use by a process of the host
	ReasonCommandNotFound      = "COMMAND_NOT_FOUND"      // exit code 127
	ReasonCommandNotExecutable = "COMMAND_NOT_EXECUTABLE" // exit code 126
	ReasonNoSuchImage          = "NO_SUCH_IMAGE"
	ReasonNameInUse            = "NAME_IN_USE"
	ReasonUnreachable          = "UNREACHABLE"     // the service could not be called
	ReasonConnectionLost       = "CONNECTION_LOST" // the connection to the agent broke during a call
)

// Fault is an error with a class, a subject and a hint.
type Fault struct {
	Kind    Kind
	Subject string // the subject: `container "web"`, `port 0.0.0.0:8080/tcp`
	Field   string // the request field or flag with the error; may be empty
	Message string // what is wrong, without the subject
	Hint    string // what to do; may be empty
	Reason  string // one of the Reason constants; may be empty
	Step    string // the launch step that failed; may be empty
	Cause   error  // the wrapped error; may be nil
}

// Error returns one line with the subject first: `port 0.0.0.0:8080/tcp: port is already allocated
// (held by container web); stop it …`.
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

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Cause }

// New returns a fault with the given options.
func New(kind Kind, subject, message string, opts ...Option) *Fault {
	f := &Fault{Kind: kind, Subject: subject, Message: message}
	for _, o := range opts {
		o(f)
	}
	return f
}

// Option sets a field of a fault.
type Option func(*Fault)

// WithCause sets the wrapped error.
func WithCause(err error) Option { return func(f *Fault) { f.Cause = err } }

// WithHint sets the hint, which says what the user can do.
func WithHint(format string, args ...any) Option {
	return func(f *Fault) { f.Hint = fmt.Sprintf(format, args...) }
}

// WithField sets the request field or flag with the error.
func WithField(field string) Option { return func(f *Fault) { f.Field = field } }

// WithReason sets the machine-readable reason.
func WithReason(reason string) Option { return func(f *Fault) { f.Reason = reason } }

// Invalidf returns an Invalid fault about a request field.
func Invalidf(subject, field, format string, args ...any) *Fault {
	return New(Invalid, subject, fmt.Sprintf(format, args...), WithField(field))
}

// NotFoundf returns a NotFound fault.
func NotFoundf(subject, format string, args ...any) *Fault {
	return New(NotFound, subject, fmt.Sprintf(format, args...))
}

// Wrap returns a fault with err as its cause, or nil if err is nil.
func Wrap(err error, kind Kind, subject, message string) error {
	if err == nil {
		return nil
	}
	return New(kind, subject, message, WithCause(err))
}

// KindOf returns the class of the outermost fault in err's tree. It is Internal for other errors
// and 0 for nil.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		return f.Kind
	}
	return Internal
}

// ReasonOf returns the reason of the outermost fault in err's tree that has one.
func ReasonOf(err error) string {
	for f, ok := errors.AsType[*Fault](err); ok; f, ok = errors.AsType[*Fault](f.Cause) {
		if f.Reason != "" {
			return f.Reason
		}
	}
	return ""
}

// Is reports whether err is a fault of the given class.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
