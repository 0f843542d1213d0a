package laws_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// repository is the path of the repository from this package.
const repository = "../.."

// citing lists the pages that say which test shows what.
var citing = []string{"docs/security.md", "docs/backup.md", "services/netagent/THREATS.md",
	"services/natagent/THREATS.md"}

var (
	testName   = regexp.MustCompile("`(Test[A-Z]\\w*)`")
	testFunc   = regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(`)
	scriptName = regexp.MustCompile("\\bscripts? (`\\w+`(?:(?:, | and )`\\w+`)*)")
	word       = regexp.MustCompile(`\w+`)
)

// TestCitedTestsExist checks the names of tests and scripts in the pages on security.
func TestCitedTestsExist(t *testing.T) {
	known := testNames(t)
	for _, page := range citing {
		text, err := os.ReadFile(filepath.Join(repository, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range cited(string(text)) {
			if !known[name] {
				t.Errorf("%s names %s, which does not exist", page, name)
			}
		}
	}
}

func TestCitationsAreFound(t *testing.T) {
	text := "shown by `TestA1`, with `Test` and `x`; the scripts `one` and `two`, script `three`, `TestB`"
	got := strings.Join(cited(text), " ")
	if want := "TestA1 TestB one two three"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// cited returns the names of tests and scripts in a text.
func cited(text string) []string {
	var all []string
	for _, m := range testName.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}

	for _, m := range scriptName.FindAllStringSubmatch(text, -1) {
		for _, name := range word.FindAllString(strings.ReplaceAll(m[1], " and ", " "), -1) {
			if !strings.HasPrefix(name, "Test") {
				all = append(all, name)
			}
		}
	}

	return all
}

// testNames returns the names of all test functions and scripts of the repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // a temporary file
		case err != nil:
			return err
		case d.IsDir() && path != repository && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case strings.HasSuffix(path, ".txtar"):
			known[strings.TrimSuffix(d.Name(), ".txtar")] = true
		case strings.HasSuffix(path, "_test.go"):
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range testFunc.FindAllSubmatch(text, -1) {
				known[string(m[1])] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	return known
}
