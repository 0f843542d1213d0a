package manpage

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func example() *cobra.Command {
	root := &cobra.Command{Use: "tool [OPTIONS] COMMAND", Short: "Do things", Version: "v1.2"}
	root.PersistentFlags().StringP("host", "H", "", "Address: unix:///PATH")
	run := &cobra.Command{
		Use: "run [OPTIONS] NAME", Short: "Run a thing", DisableFlagsInUseLine: true,
		Long:    "Run a thing.\n\n.hidden is a file, C:\\dir too.\n--label: a label.\n\n    a table\n'quoted'",
		Example: "  tool run x",
		RunE:    func(*cobra.Command, []string) error { return nil },
	}
	run.Flags().StringArray("label", nil, "Label")
	run.Flags().Int64("count", 3, "Number")
	run.Flags().Bool("secret", false, "Not shown")
	_ = run.Flags().MarkHidden("secret")
	root.AddCommand(run, NewCommand(1, nil))
	return root
}

func TestPagesShowDescriptionAndOptions(t *testing.T) {
	all := Pages(example(), 1)
	if len(all) != 2 || all[0].Name != "tool.1" || all[1].Name != "tool-run.1" {
		t.Fatalf("got %v, want pages of tool and tool run", all)
	}

	text := all[1].Text
	for _, want := range []string{
		`.TH "TOOL\-RUN" "1" "" "tool v1.2"`, `tool\-run \- Run a thing`, "\ntool run [OPTIONS] NAME\n",
		"\n\\&.hidden is a file, C:\\edir too.\n.br\n\\-\\-label: a label.\n", "\n.nf\n    a table\n\\&'quoted'\n.fi\n",
		`\fB\-\-label list\fR`, "Number (default 3)", `\fB\-H, \-\-host string\fR`, `\fBtool\fR(1)`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "secret") {
		t.Errorf("a hidden option is shown:\n%s", text)
	}
	if !strings.Contains(all[0].Text, `\fBtool\-run\fR(1)`) {
		t.Errorf("the root page lacks its command:\n%s", all[0].Text)
	}
}

func TestPagesHaveNoRoffErrors(t *testing.T) {
	dir := t.TempDir()
	root := example()
	root.SetArgs([]string{"man", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}

	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip("needs groff")
	}
	for _, name := range []string{"tool.1", "tool-run.1"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("groff", "-man", "-ww", "-z", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
