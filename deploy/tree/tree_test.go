// Package tree checks what is in the tree beside Go: the shell scripts, the formatting, the Makefile's help, and that the generated code is
// what the contract gives.
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

// run runs a program at the top of the tree and answers what it printed.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = top, &out, &out
	err := cmd.Run()
	return out.String(), err
}

// files are those in the tree whose paths match, whether git knows them yet or not.
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
		t.Fatalf("this test needs %s installed; make setup does that", name)
	}
	t.Skipf("needs %s installed", name)
}

func TestShellScriptsAreClean(t *testing.T) {
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
			t.Errorf("%s goes on after an error: it has no set -eu", name)
		}
	}
}

func TestGoFilesAreFormatted(t *testing.T) {
	names := files(t, `^.*\.go$`)
	if out, err := run(t, "gofmt", append([]string{"-l"}, names...)...); err != nil || out != "" {
		t.Errorf("gofmt would change: %v\n%s", err, out)
	}
}

func TestEveryTargetOfTheMakefileHasAHelpLine(t *testing.T) {
	text, err := os.ReadFile(top + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	phony := regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindSubmatch(text)
	if phony == nil {
		t.Fatal("no .PHONY in the Makefile")
	}
	help, err := run(t, "make", "--no-print-directory", "help")
	if err != nil {
		t.Fatalf("%v\n%s", err, help)
	}
	for _, name := range strings.Fields(string(phony[1])) {
		if !regexp.MustCompile(`(?m)^  make ` + name + ` +\S`).MatchString(help) {
			t.Errorf("make help says nothing of %s", name)
		}
	}
}

func TestGeneratedCodeIsWhatTheContractGives(t *testing.T) {
	if _, err := run(t, "deploy/proto.sh", "ready"); err != nil && os.Getenv("CI") == "" {
		t.Skip("needs the contract's tools installed, which takes minutes; make proto-check does that")
	}
	if out, err := run(t, "deploy/proto.sh", "check"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
