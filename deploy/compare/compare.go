package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// limit is the time limit of one command.
const limit = time.Minute

// output holds the exit code of a command and what it printed, without what differs from run to run.
type output struct {
	text   string
	status int
}

// do runs a command of the shell on the host of an engine.
func (e *engine) do(ctx context.Context, text string) output {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", text)
	cmd.Dir = e.dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DOCKER_HOST=" + e.socket(), "HOME=" + e.dir, "LC_ALL=C",
		"TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second

	err := e.lab.Host.Run(cmd)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return output{out.String() + "\n(still running)", -1}
	case err != nil && !errors.As(err, &exit):
		return output{err.Error(), -1}
	}
	return output{normalize(out.String(), e.lab.Dir), cmd.ProcessState.ExitCode()}
}

// variable lists what differs from run to run. The order matters: an ID is longer than its short form.
var variable = []struct {
	find *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "<ID>"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), "<id>"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d))?( [A-Z]+)?`), "<time>"},
	{regexp.MustCompile(`\b(About (a|an)|Less than a|\d+) (second|minute|hour|day|week|month|year)s?( ago)?`), "<age>"},
	{regexp.MustCompile(`\b[a-z]+_[a-z]+\d?\b +\n`), "<name>\n"},
}

// normalize replaces what differs from run to run.
func normalize(text, dir string) string {
	text = strings.ReplaceAll(text, dir, "<dir>")
	for _, v := range variable {
		text = v.find.ReplaceAllString(text, v.by)
	}
	// Columns are as wide as what they hold.
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = columns.ReplaceAllString(strings.TrimRight(line, " "), "  ")
	}
	return strings.Join(lines, "\n")
}

var columns = regexp.MustCompile(` {2,}`)

// compare runs all commands on both engines and reports what differs.
func compare(ctx context.Context, s *script, docker, fairlead *engine) error {
	report, err := os.Create(filepath.Join(cacheDir, "compare.txt"))
	if err != nil {
		return err
	}
	defer func() { _ = report.Close() }()

	var same, explained, wrong int
	for _, c := range s.commands {
		var a, b output
		var both sync.WaitGroup
		both.Go(func() { a = docker.do(ctx, c.text) })
		both.Go(func() { b = fairlead.do(ctx, c.text) })
		both.Wait()
		if err := ctx.Err(); err != nil {
			return err
		}

		differ := a != b
		_, _ = fmt.Fprintf(report, "$ %s\n", c.text)
		_, _ = fmt.Fprint(report, difference(a, b))
		switch {
		case !differ && c.reason == "":
			same++
		case differ && c.reason != "" && (a.status == b.status || strings.HasPrefix(c.reason, "exit-")):
			explained++
		default:
			wrong++
			fmt.Printf("$ %s\n%s", c.text, difference(a, b))
			if !differ {
				fmt.Printf("  no difference, but explained by [%s]\n", c.reason)
			}
		}
	}

	fmt.Printf("%d commands: %d equal, %d with an explained difference, %d wrong; all outputs are in %s\n",
		len(s.commands), same, explained, wrong, report.Name())
	if wrong > 0 {
		return fmt.Errorf("%d commands differ without an explanation", wrong)
	}
	return nil
}

// difference returns the lines that only one of the outputs has, and the exit codes if they differ.
func difference(a, b output) string {
	if a == b {
		return fmt.Sprintf("  = %d %s\n", a.status, strings.ReplaceAll(a.text, "\n", "\n    "))
	}

	var out strings.Builder
	left, right := strings.Split(a.text, "\n"), strings.Split(b.text, "\n")
	for i := range max(len(left), len(right)) {
		l, r := lineAt(left, i), lineAt(right, i)
		if l == r {
			continue
		}
		fmt.Fprintf(&out, "  docker:   %s\n  fairlead: %s\n", l, r)
	}
	if a.status != b.status {
		fmt.Fprintf(&out, "  exit code: docker %d, fairlead %d\n", a.status, b.status)
	}
	return out.String()
}

func lineAt(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(no line)"
}
