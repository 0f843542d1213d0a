// Package diagnosis holds the findings of a service about its host, for `fairlead doctor`.
package diagnosis

import (
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
)

// Severity is the severity of a finding.
type Severity int

// The severities.
const (
	OK      Severity = iota // the feature works
	Note                    // a feature is not available, or there is something to know
	Problem                 // something that containers need does not work
)

// Finding is one result of a check.
type Finding struct {
	Area, Name string
	Severity   Severity
	Text, Hint string // without full stops; the hint can be empty
}

// Check returns a finding: OK with the text works if err is nil, otherwise worst with the error and
// the hint.
func Check(area, name, works string, err error, worst Severity, hint string) Finding {
	if err == nil {
		return Finding{area, name, OK, works, ""}
	}
	return Finding{area, name, worst, err.Error(), hint}
}

// Proto converts findings to protobuf messages.
func Proto(in []Finding) []*hostv1.Finding {
	out := make([]*hostv1.Finding, 0, len(in))
	for _, f := range in {
		severity := map[Severity]hostv1.Severity{OK: hostv1.Severity_SEVERITY_OK, Note: hostv1.Severity_SEVERITY_NOTE,
			Problem: hostv1.Severity_SEVERITY_PROBLEM}[f.Severity]
		out = append(out, &hostv1.Finding{Area: f.Area, Name: f.Name, Severity: severity, Message: f.Text,
			Hint: f.Hint})
	}
	return out
}
