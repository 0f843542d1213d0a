package e2e

import (
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fairlead/fairlead/agent/test/testcollector"
)

// collector starts an OpenTelemetry collector at $LAB/traces.
func startCollector(ts *testscript.TestScript, _ bool, _ []string) {
	s := of(ts)
	var err error
	s.collector, err = testcollector.Start(s.Dir + "/traces")
	must(ts, err)
}

// traces REGEXP… waits until the collector has traces that match all expressions. A trace has a line for
// each span, below that of its parent.
func traces(ts *testscript.TestScript, _ bool, args []string) {
	var wanted []*regexp.Regexp
	for _, a := range args {
		wanted = append(wanted, regexp.MustCompile("(?m)"+a))
	}

	deadline := time.Now().Add(waitLimit)
	for {
		trees := of(ts).collector.Trees()
		missing := ""
		for _, w := range wanted {
			if !w.MatchString(trees) {
				missing = w.String()
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no traces match %s:\n%s", missing, trees)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
