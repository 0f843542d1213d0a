// Package diagnosis is what a service finds out about its host by trying, in words for people. The command line's doctor lists it.
package diagnosis

import (
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
)

// Severity says what a finding means.
type Severity int

// The severities.
const (
	OK      Severity = iota // it works
	Note                    // something is not to be had, or worth knowing; all else works
	Problem                 // containers cannot work as they should
)

// Finding is one thing that was found out.
type Finding struct {
	Area, Name string
	Severity   Severity
	Text, Hint string // without full stops; an empty hint: there is nothing to do
}

// Check is a finding of something that works, or with an error does not; worst is what that means.
func Check(area, name, works string, err error, worst Severity, hint string) Finding {
	if err == nil {
		return Finding{area, name, OK, works, ""}
	}
	return Finding{area, name, worst, err.Error(), hint}
}

// Proto writes findings.
func Proto(in []Finding) []*hostv1.Finding {
	out := make([]*hostv1.Finding, 0, len(in))
	for _, f := range in {
		severity := map[Severity]hostv1.Severity{OK: hostv1.Severity_SEVERITY_OK, Note: hostv1.Severity_SEVERITY_NOTE,
			Problem: hostv1.Severity_SEVERITY_PROBLEM}[f.Severity]
		out = append(out, &hostv1.Finding{Area: f.Area, Name: f.Name, Severity: severity, Message: f.Text, Hint: f.Hint})
	}
	return out
}
