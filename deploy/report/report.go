package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json` and `go help buildjson`.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64
}

// report collects the results of tests.
type report struct {
	strict   bool // an avoidable skip is a failure
	packages []*pkg
	build    map[string]string // compiler output by package
}

type pkg struct {
	name    string
	action  string // pass, fail or skip
	seconds float64
	output  string // output outside of tests
	tests   []*test
}

type test struct {
	name   string
	action string
	output string
}

// read processes all events. Failures are printed immediately.
func (r *report) read(in io.Reader, out io.Writer) error {
	r.build = map[string]string{}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(line, out)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) line(line string, out io.Writer) {
	var e event
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(out, line) // not from a test: a download, a warning of the go command
		return
	}

	switch {
	case e.Action == "build-output":
		r.build[e.ImportPath] += e.Output
	case e.Package == "":
	case e.Test == "":
		r.packageEvent(e, out)
	default:
		r.testEvent(e, out)
	}
}

func (r *report) pkg(name string) *pkg {
	for _, p := range r.packages {
		if p.name == name {
			return p
		}
	}
	p := &pkg{name: name}
	r.packages = append(r.packages, p)
	return p
}

func (p *pkg) test(name string) *test {
	for _, t := range p.tests {
		if t.name == name {
			return t
		}
	}
	t := &test{name: name}
	p.tests = append(p.tests, t)
	return t
}

func (r *report) testEvent(e event, out io.Writer) {
	t := r.pkg(e.Package).test(e.Test)
	switch e.Action {
	case "output":
		t.output += e.Output
	case "pass", "skip", "fail":
		t.action = e.Action
		if r.failed(t) {
			fmt.Fprintf(out, "FAIL %s %s\n%s\n", e.Package, e.Test, indent(t.output))
		}
		if t.action == "pass" {
			t.output = ""
		}
	}
}

func (r *report) packageEvent(e event, out io.Writer) {
	p := r.pkg(e.Package)
	switch e.Action {
	case "output":
		p.output += e.Output
	case "pass", "skip", "fail":
		p.action, p.seconds = e.Action, e.Elapsed
		c := r.count(p)
		if p.action == "fail" && !slices.ContainsFunc(p.tests, r.failed) {
			p.interrupted(out)
			for path, text := range r.build {
				if path == p.name || strings.HasPrefix(path, p.name+" ") || strings.HasPrefix(path, p.name+"_test ") {
					fmt.Fprint(out, indent(text))
				}
			}
			fmt.Fprintf(out, "FAIL %s\n%s\n", p.name, indent(p.output))
		}
		if len(p.tests) > 0 || p.action == "fail" {
			fmt.Fprintf(out, "%-5s %-50s %4d tests %7.1f s\n", p.action, short(p.name), c.passed+c.failed+c.skipped,
				p.seconds)
		}
	}
}

// interrupted reports the running tests of a package that stopped abruptly.
func (p *pkg) interrupted(out io.Writer) {
	for _, t := range p.tests {
		if t.action == "" {
			fmt.Fprintf(out, "FAIL %s %s did not end\n%s\n", p.name, t.name, indent(t.output))
		}
	}
}

// counts holds totals.
type counts struct{ passed, failed, skipped int }

// count counts the tests of a package. Of a test with subtests only these count, unless it failed
// itself. A failed package without a failed test counts as one failure.
func (r *report) count(p *pkg) counts {
	var c counts
	for _, t := range p.tests {
		switch {
		case p.hasChildren(t) && !(r.failed(t) && !p.failedBelow(r, t)):
		case t.action == "skip" && !r.failed(t):
			c.skipped++
		case t.action == "pass":
			c.passed++
		default:
			c.failed++
		}
	}

	if p.action == "fail" && c.failed == 0 {
		c.failed = 1
	}

	return c
}

func (p *pkg) hasChildren(parent *test) bool {
	return slices.ContainsFunc(p.tests, func(t *test) bool { return strings.HasPrefix(t.name, parent.name+"/") })
}

func (p *pkg) failedBelow(r *report, parent *test) bool {
	return slices.ContainsFunc(p.tests,
		func(t *test) bool { return strings.HasPrefix(t.name, parent.name+"/") && r.failed(t) })
}

// avoidable matches skip reasons that setting up the machine prevents, unlike those of its kernel.
var avoidable = regexp.MustCompile(`\binstalled\b|\bneeds root\b|\bneeds \S+-static\b|no reason`)

// failed reports whether a test counts as failed, which in a strict report includes avoidable
// skips.
func (r *report) failed(t *test) bool {
	return t.action == "fail" || (r.strict && t.action == "skip" && avoidable.MatchString(t.reason()))
}

// chatter matches lines of the testing package; place matches source positions.
var (
	chatter = regexp.MustCompile(`^\s*(=== (RUN|PAUSE|CONT|NAME)|--- (SKIP|PASS|FAIL):)`)
	place   = regexp.MustCompile(`^\s*\S+\.go:\d+: `)
)

// reason returns why a test was skipped: its last output.
func (t *test) reason() string {
	lines := t.lines()
	if len(lines) == 0 {
		return "no reason given"
	}
	return strings.TrimSpace(place.ReplaceAllString(lines[len(lines)-1], ""))
}

// lines returns the output of a test without empty lines and those of the testing package.
func (t *test) lines() []string {
	var all []string
	for line := range strings.Lines(t.output) {
		line = strings.TrimRight(line, "\n")
		if !chatter.MatchString(line) && strings.TrimSpace(line) != "" {
			all = append(all, line)
		}
	}
	return all
}

// The ending of a failed test's output: the number of lines, and the bytes of a line.
const (
	endingLines = 8
	endingWidth = 300
)

// ending returns the last lines of a test, which say why it failed, shortened.
func (t *test) ending() string {
	lines := t.lines()
	lines = lines[max(0, len(lines)-endingLines):]
	for i, line := range lines {
		lines[i] = strings.ToValidUTF8(line[:min(len(line), endingWidth)], "")
	}
	return strings.Join(lines, "\n")
}

// ok reports whether there were tests and none failed.
func (r *report) ok() bool {
	c := r.total()
	return c.failed == 0 && c.passed > 0
}

func (r *report) total() counts {
	var all counts
	for _, p := range r.packages {
		c := r.count(p)
		all.passed, all.failed, all.skipped = all.passed+c.passed, all.failed+c.failed, all.skipped+c.skipped
	}
	return all
}

// summarize prints the summary.
func (r *report) summarize(out io.Writer) {
	fmt.Fprintln(out)
	for _, p := range r.packages {
		for _, t := range p.tests {
			if t.action == "skip" && !p.hasChildren(t) {
				fmt.Fprintf(out, "skipped: %s %s: %s\n", short(p.name), t.name, t.reason())
			}
		}
	}

	for _, p := range r.packages {
		for _, t := range p.tests {
			if r.failed(t) && !p.failedBelow(r, t) {
				fmt.Fprintf(out, "failed: %s %s\n%s", short(p.name), t.name, indent(t.ending()))
			}
		}
		if p.action == "fail" && !slices.ContainsFunc(p.tests, r.failed) {
			fmt.Fprintf(out, "failed: %s as a whole\n", short(p.name))
		}
	}

	c := r.total()
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
}

func short(name string) string { return strings.TrimPrefix(name, "github.com/fairlead/fairlead/") }

func indent(text string) string {
	if text == "" {
		return ""
	}
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ") + "\n"
}
