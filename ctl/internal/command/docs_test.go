package command

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
)

const repository = "../../.."

func docsRoot() *cobra.Command {
	c := &cli.CLI{
		In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, Now: time.Now,
		LookupEnv: func(string) (string, bool) { return "", false }, Interrupts: &cli.Interrupts{},
	}
	root := newRoot(c)
	addCommands(c, root)
	plainUseLines(root)
	return root
}

// pages returns the Markdown pages of the repository.
func pages(t *testing.T) []string {
	t.Helper()

	var found []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		names, err := filepath.Glob(filepath.Join(repository, pattern))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, names...)
	}

	if len(found) < 5 {
		t.Fatalf("got %d pages: %v", len(found), found)
	}

	return found
}

func TestDocsLinksExist(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if m[1] == "" || strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: link %s: %v", page, m[1], err)
			}
		}
	}
}

// commandLines returns the fairlead command lines in the code blocks of a page, each as one line.
func commandLines(text string) []string {
	var found []string
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line, isCode := strings.CutPrefix(line, "    ")
		if !isCode {
			continue
		}
		line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
		if strings.HasPrefix(line, "fairlead ") && !strings.Contains(line, "...") && !strings.Contains(line, "…") {
			found = append(found, line)
		}
	}

	return found
}

// shellWords splits a command line at spaces outside of quotes, up to a comment, a pipe or a
// redirection.
func shellWords(line string) []string {
	var words []string
	for _, m := range regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`).FindAllString(line, -1) {
		if m[0] == '#' || m == "|" || m[0] == '>' || m == "&&" || m == ";" {
			break
		}
		words = append(words, strings.NewReplacer("'", "", `"`, "").Replace(m))
	}
	return words
}

func TestDocsCommandsParse(t *testing.T) {
	total := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range commandLines(string(text)) {
			total++
			if err := parses(shellWords(line)[1:]); err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(page), line, err)
			}
		}
	}

	if total < 20 {
		t.Errorf("got %d command lines, want at least 20", total)
	}
}

func parses(args []string) error {
	cmd, rest, err := docsRoot().Traverse(args)
	if err != nil {
		return err
	}
	if !cmd.HasParent() {
		return fmt.Errorf("no such command: %v", args)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

func TestDocsCommandsThatDoNotParse(t *testing.T) {
	for _, line := range []string{"fairlead nope", "fairlead run --nope nginx", "fairlead rename web"} {
		if parses(shellWords(line)[1:]) == nil {
			t.Errorf("%s parses", line)
		}
	}
}
