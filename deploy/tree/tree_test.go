// Package tree checks the files that the Go tests of other packages do not: shell scripts,
// formatting, the help of the Makefile, and the generated code.
package tree

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

const top = "../.."

// run runs a program in the root directory of the repository and returns its output.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = top, &out, &out
	err := cmd.Run()
	return out.String(), err
}

// files returns the tracked and new files whose paths match a pattern.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	out, err := run(t, "git", "ls-files", "--cached", "--others", "--exclude-standard")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found := regexp.MustCompile(`(?m)`+pattern).FindAllString(out, -1)
	if len(found) == 0 {
		t.Fatalf("no file matches %s", pattern)
	}
	return found
}

func need(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed; run make setup", name)
	}
	t.Skipf("needs %s installed", name)
}

func TestShellScriptsPassShellcheck(t *testing.T) {
	need(t, "shellcheck")
	for _, name := range files(t, `^(.*\.sh|\.ci/run)$`) {
		if out, err := run(t, "shellcheck", name); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		text, err := os.ReadFile(top + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^set -eu`).Match(text) {
			t.Errorf("%s lacks set -eu", name)
		}
	}
}

func TestGoFilesAreFormatted(t *testing.T) {
	names := files(t, `^.*\.go$`)
	if out, err := run(t, "gofmt", append([]string{"-l"}, names...)...); err != nil || out != "" {
		t.Errorf("files are not formatted: %v\n%s", err, out)
	}
}

func TestMakefileTargetsHaveHelp(t *testing.T) {
	text, err := os.ReadFile(top + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}

	phony := regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindSubmatch(text)
	if phony == nil {
		t.Fatal("the Makefile has no .PHONY line")
	}

	help, err := run(t, "make", "--no-print-directory", "help")
	if err != nil {
		t.Fatalf("%v\n%s", err, help)
	}

	for _, name := range strings.Fields(string(phony[1])) {
		if !regexp.MustCompile(`(?m)^  make ` + name + ` +\S`).MatchString(help) {
			t.Errorf("make help does not list %s", name)
		}
	}
}

func TestGeneratedCodeIsCurrent(t *testing.T) {
	if _, err := run(t, "deploy/proto.sh", "ready"); err != nil && os.Getenv("CI") == "" {
		t.Skip("needs the protobuf tools; make proto-check installs them")
	}
	if out, err := run(t, "deploy/proto.sh", "check"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
