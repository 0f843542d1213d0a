package main

import (
	"strings"
	"testing"
)

const events = `{"Action":"start","Package":"p/a"}
{"Action":"run","Package":"p/a","Test":"TestGood"}
{"Action":"output","Package":"p/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"pass","Package":"p/a","Test":"TestGood","Elapsed":0.1}
{"Action":"run","Package":"p/a","Test":"TestTable"}
{"Action":"run","Package":"p/a","Test":"TestTable/one"}
{"Action":"pass","Package":"p/a","Test":"TestTable/one"}
{"Action":"pass","Package":"p/a","Test":"TestTable/two"}
{"Action":"pass","Package":"p/a","Test":"TestTable"}
{"Action":"output","Package":"p/a","Test":"TestIdle","Output":"    a_test.go:7: needs ipvlan in the kernel\n"}
{"Action":"output","Package":"p/a","Test":"TestIdle","Output":"--- SKIP: TestIdle (0.00s)\n"}
{"Action":"skip","Package":"p/a","Test":"TestIdle"}
{"Action":"pass","Package":"p/a","Elapsed":1.5}
`

const failing = `{"Action":"output","Package":"p/b","Test":"TestBad/x","Output":"    b_test.go:9: got 1, want 2\n"}
{"Action":"fail","Package":"p/b","Test":"TestBad/x"}
{"Action":"pass","Package":"p/b","Test":"TestBad/y"}
{"Action":"fail","Package":"p/b","Test":"TestBad"}
{"Action":"fail","Package":"p/b","Elapsed":0.2}
`

func run(t *testing.T, strict bool, input string) (*report, string) {
	t.Helper()
	var out strings.Builder
	r := &report{strict: strict}
	if err := r.read(strings.NewReader(input), &out); err != nil {
		t.Fatal(err)
	}
	r.summarize(&out)
	return r, out.String()
}

func TestSummaryCountsTestsAndListsSkips(t *testing.T) {
	r, out := run(t, true, events)
	if !r.ok() || !strings.HasSuffix(out, "\n3 passed, 0 failed, 1 skipped\n") {
		t.Errorf("ok %v, report:\n%s", r.ok(), out)
	}
	if !strings.Contains(out, "skipped: p/a TestIdle: needs ipvlan in the kernel\n") {
		t.Errorf("no reason for the skip:\n%s", out)
	}
}

func TestFailureIsPrintedInFull(t *testing.T) {
	r, out := run(t, false, events+failing)
	if r.ok() || !strings.HasSuffix(out, "\n4 passed, 1 failed, 1 skipped\n") {
		t.Errorf("ok %v, report:\n%s", r.ok(), out)
	}
	const ending = "failed: p/b TestBad/x\n        b_test.go:9: got 1, want 2\n"
	for _, want := range []string{"b_test.go:9: got 1, want 2", ending} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestAvoidableSkipFailsStrictReport(t *testing.T) {
	input := strings.ReplaceAll(events, "needs ipvlan in the kernel", "needs crun installed")
	if r, out := run(t, false, input); !r.ok() {
		t.Errorf("a lenient report fails:\n%s", out)
	}
	if r, out := run(t, true, input); r.ok() || !strings.HasSuffix(out, "\n3 passed, 1 failed, 0 skipped\n") {
		t.Errorf("ok %v, report:\n%s", r.ok(), out)
	}
}

func TestBuildErrorIsFailure(t *testing.T) {
	r, out := run(t, false, events+`{"ImportPath":"p/c [p/c.test]","Action":"build-output","Output":"c.go:3:1: syntax error\n"}
{"ImportPath":"p/c [p/c.test]","Action":"build-fail"}
{"Action":"output","Package":"p/c","Output":"FAIL\tp/c [build failed]\n"}
{"Action":"fail","Package":"p/c","Elapsed":0}
`)
	if r.ok() || !strings.Contains(out, "c.go:3:1: syntax error") ||
		!strings.HasSuffix(out, "\n3 passed, 1 failed, 1 skipped\n") {
		t.Errorf("ok %v, report:\n%s", r.ok(), out)
	}
}

func TestHangingTestIsListed(t *testing.T) {
	r, out := run(t, false, events+`{"Action":"run","Package":"p/d","Test":"TestStuck"}
{"Action":"output","Package":"p/d","Test":"TestStuck","Output":"panic: test timed out after 1s\n"}
{"Action":"fail","Package":"p/d","Elapsed":1}
`)
	if r.ok() || !strings.Contains(out, "TestStuck did not end") || !strings.Contains(out, "timed out") {
		t.Errorf("ok %v, report:\n%s", r.ok(), out)
	}
}

func TestNoTestsIsFailure(t *testing.T) {
	if r, out := run(t, false, ""); r.ok() {
		t.Errorf("an empty report is fine:\n%s", out)
	}
}
