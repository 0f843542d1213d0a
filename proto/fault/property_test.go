package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
)

func TestOptionsSetTheirField(t *testing.T) {
	cause := errors.New("no route to host")
	got := fault.New(fault.Unavailable, "image web", "cannot be pulled", fault.WithField("image"),
		fault.WithReason(fault.ReasonUnreachable), fault.WithCause(cause), fault.WithHint("try %s in %d s", "again", 5))
	want := fault.Fault{Kind: fault.Unavailable, Subject: "image web", Field: "image", Message: "cannot be pulled",
		Hint: "try again in 5 s", Reason: fault.ReasonUnreachable, Cause: cause}
	if *got != want {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
}

func TestHintWithPercentSignIsKept(t *testing.T) {
	f := fault.New(fault.Invalid, "flag --rate", "is not a valid rate", fault.WithHint("%s", "write 50% or less"))
	if want := "flag --rate: is not a valid rate; write 50% or less"; f.Error() != want {
		t.Errorf("got %q, want %q", f, want)
	}
}

func TestReasonOfPassesFaultsWithoutReason(t *testing.T) {
	port := fault.New(fault.Busy, "port 80", "is taken", fault.WithReason(fault.ReasonAddressInUse))
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"one level": {fault.Wrap(port, fault.Conflict, "a", "b"), fault.ReasonAddressInUse},
		"two levels": {fault.Wrap(fault.Wrap(port, fault.Busy, "a", "b"), fault.Busy, "c", "d"),
			fault.ReasonAddressInUse},
		"through another": {fault.Wrap(fmt.Errorf("while: %w", port), fault.Busy, "a", "b"), fault.ReasonAddressInUse},
		"outer reason wins": {fault.New(fault.Denied, "a", "b", fault.WithReason(fault.ReasonNameInUse),
			fault.WithCause(port)), fault.ReasonNameInUse},
		"cause is no fault": {fault.Wrap(errors.New("x"), fault.Busy, "a", "b"), ""},
	} {
		if got := fault.ReasonOf(c.err); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestErrorTextProperty checks the order of the parts: step, subject, message, cause, hint.
func TestErrorTextProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringMatching(`[a-z]{0,4}`)
		f := &fault.Fault{Subject: part.Draw(t, "subject"), Step: part.Draw(t, "step"), Hint: part.Draw(t, "hint"),
			Message: rapid.StringMatching(`[a-z]{1,4}`).Draw(t, "message")}
		if cause := part.Draw(t, "cause"); cause != "" {
			f.Cause = errors.New(cause)
		}

		text, hint, _ := strings.Cut(f.Error(), "; ")
		var want []string
		for _, s := range []string{f.Step, f.Subject, f.Message} {
			if s != "" {
				want = append(want, s)
			}
		}
		if f.Cause != nil {
			want = append(want, f.Cause.Error())
		}
		if hint != f.Hint || text != strings.Join(want, ": ") {
			t.Fatalf("got %q for %+v", f.Error(), f)
		}
	})
}

func TestIsComparesOneKindOnly(t *testing.T) {
	for kind := fault.Invalid; kind <= fault.Internal; kind++ {
		err := fmt.Errorf("while: %w", fault.New(kind, "a", "b"))
		for other := fault.Invalid; other <= fault.Internal; other++ {
			if got := fault.Is(err, other); got != (kind == other) {
				t.Errorf("kind %d: got Is(%d) = %v", kind, other, got)
			}
		}
	}
	if fault.Is(nil, 0) || fault.Is(nil, fault.Internal) {
		t.Error("nil is a fault")
	}
}
