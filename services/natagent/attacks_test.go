package natagent_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestAttacksHaveTests(t *testing.T) {
	list, err := os.ReadFile("ATTACKS.md")
	if err != nil {
		t.Fatal(err)
	}

	files, _ := filepath.Glob("*_test.go")
	deeper, _ := filepath.Glob("*/*/*_test.go")
	packages, _ := filepath.Glob("*/*_test.go")
	var tests strings.Builder
	for _, f := range slices.Concat(files, packages, deeper) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}

	rows := 0
	for line := range strings.Lines(string(list)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| attack") {
			continue
		}
		rows++
		named := regexp.MustCompile("`(Test[A-Za-z]+)`").FindAllStringSubmatch(line, -1)
		if len(named) == 0 {
			t.Errorf("no test is named: %s", line)
		}
		for _, n := range named {
			if !strings.Contains(tests.String(), "func "+n[1]+"(") {
				t.Errorf("there is no %s", n[1])
			}
		}
	}

	if rows < 10 {
		t.Errorf("the list has %d rows", rows)
	}
}
