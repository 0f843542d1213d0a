package command

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// update rewrites the generated pages in docs/reference.
var update = flag.Bool("update", false, "rewrite the generated pages in docs/reference")

func TestCLIReferenceIsCurrent(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Command line reference\n\n`make docs` generates this page from the help of the commands.\n")
	root := docsRoot()
	root.InitDefaultHelpCmd()
	writeReference(&b, root)
	compare(t, "docs/reference/cli.md", b.Bytes())
}

// writeReference writes the help of a command and of its subcommands.
func writeReference(b *bytes.Buffer, cmd *cobra.Command) {
	if cmd.Name() == "help" || cmd.Name() == "completion" || cmd.Hidden {
		return
	}

	fmt.Fprintf(b, "\n## %s\n\n", cmd.CommandPath())
	long := strings.TrimSpace(cmd.Long)
	if long == "" {
		long = cmd.Short
	}
	cmd.InitDefaultHelpFlag()
	fence := "```"
	fmt.Fprintf(b, "%stext\n%s\n\nUsage:  %s\n", fence, long, cmd.UseLine())
	if cmd.HasExample() {
		fmt.Fprintf(b, "\nExamples:\n%s\n", strings.TrimRight(cmd.Example, "\n"))
	}
	if cmd.HasAvailableLocalFlags() {
		fmt.Fprintf(b, "\nOptions:\n%s", cmd.LocalFlags().FlagUsagesWrapped(100))
	}
	fmt.Fprintf(b, "%s\n", fence)

	subs := cmd.Commands()
	slices.SortFunc(subs, func(a, b *cobra.Command) int { return strings.Compare(a.Name(), b.Name()) })
	for _, sub := range subs {
		writeReference(b, sub)
	}
}

// compare reports a page that differs from the generated one, or rewrites it with -update.
func compare(t *testing.T, name string, want []byte) {
	t.Helper()

	path := filepath.Join(repository, name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}

	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date; run: make docs", name)
	}
}
