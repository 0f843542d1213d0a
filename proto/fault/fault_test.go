package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
)

func TestErrorIsOneLineWithSubjectFirst(t *testing.T) {
	for want, f := range map[string]*fault.Fault{
		"port 80: is taken": fault.New(fault.Busy, "port 80", "is taken"),
		"is taken":          fault.New(fault.Busy, "", "is taken"),
		"port 80: is taken: EOF; take another": fault.New(fault.Busy, "port 80", "is taken",
			fault.WithCause(io.EOF), fault.WithHint("take %s", "another")),
		"publish ports: port 80: is taken": {Kind: fault.Busy, Subject: "port 80", Message: "is taken",
			Step: "publish ports"},
		"flag -p: \"x\" is not a port": fault.Invalidf("flag -p", "publish", "%q is not a port", "x"),
		"network n1: is not there":     fault.NotFoundf("network n1", "is not there"),
	} {
		if got := f.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestOutermostFaultDeterminesKind(t *testing.T) {
	inner := fault.New(fault.Busy, "port", "is taken", fault.WithReason(fault.ReasonPortAllocated))
	for _, c := range []struct {
		err    error
		kind   fault.Kind
		reason string
	}{
		{nil, 0, ""},
		{io.EOF, fault.Internal, ""},
		{inner, fault.Busy, fault.ReasonPortAllocated},
		{fmt.Errorf("while: %w", inner), fault.Busy, fault.ReasonPortAllocated},
		{errors.Join(io.EOF, inner), fault.Busy, fault.ReasonPortAllocated},
		{fault.Wrap(inner, fault.Unavailable, "container", "cannot start"), fault.Unavailable,
			fault.ReasonPortAllocated},
		{fault.Wrap(io.EOF, fault.Conflict, "x", "y"), fault.Conflict, ""},
		{fault.Wrap(nil, fault.Conflict, "x", "y"), 0, ""},
	} {
		if got := fault.KindOf(c.err); got != c.kind {
			t.Errorf("%v is of kind %v, want %v", c.err, got, c.kind)
		}
		if got := fault.ReasonOf(c.err); got != c.reason {
			t.Errorf("%v has reason %q, want %q", c.err, got, c.reason)
		}
		if fault.Is(c.err, c.kind) != (c.err != nil) {
			t.Errorf("Is(%v, %v) is wrong", c.err, c.kind)
		}
	}
}

func TestUnwrapReturnsCause(t *testing.T) {
	err := fault.Wrap(fmt.Errorf("read: %w", io.EOF), fault.Unavailable, "file", "cannot be read")
	if !errors.Is(err, io.EOF) {
		t.Error("errors.Is does not find the cause")
	}
	if f, ok := errors.AsType[*fault.Fault](fault.Invalidf("a", "field", "b")); !ok || f.Field != "field" ||
		f.Kind != fault.Invalid {
		t.Errorf("%+v", f)
	}
}
