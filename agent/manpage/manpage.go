// Package manpage formats man pages of cobra commands.
//
// Each binary has the hidden command "man DIR" of NewCommand, which `make man` runs. The pages contain
// what --help prints: descriptions, options and subcommands. The package is not for pages with text of
// their own.
package manpage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Page is one man page.
type Page struct {
	Name string // of the file, such as "fairlead-run.1"
	Text string
}

// NewCommand returns the hidden command that writes the pages of its root command to a directory. more
// returns additional pages and may be nil.
func NewCommand(section int, more func() []Page) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write man pages to a directory", Hidden: true,
		SilenceUsage: true, SilenceErrors: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all := Pages(cmd.Root(), section)
			if more != nil {
				all = append(all, more()...)
			}
			return write(args[0], all)
		},
	}
}

func write(dir string, all []Page) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range all {
		if err := os.WriteFile(filepath.Join(dir, p.Name), []byte(p.Text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Pages returns the pages of a root command and of its subcommands, except hidden ones.
func Pages(root *cobra.Command, section int) []Page {
	all := []Page{{Name: reference(root, section).file(), Text: page(root, section)}}
	for _, sub := range visible(root) {
		all = append(all, Pages(sub, section)...)
	}
	return all
}

// visible returns the subcommands with pages, by name.
func visible(cmd *cobra.Command) []*cobra.Command {
	subs := slices.DeleteFunc(slices.Clone(cmd.Commands()), func(sub *cobra.Command) bool {
		return sub.Hidden || sub.Name() == "help" || sub.Name() == "completion"
	})
	slices.SortFunc(subs, func(a, b *cobra.Command) int { return strings.Compare(a.Name(), b.Name()) })
	return subs
}

// ref names a page.
type ref struct {
	name    string
	section int
}

func reference(cmd *cobra.Command, section int) ref {
	return ref{strings.ReplaceAll(cmd.CommandPath(), " ", "-"), section}
}

func (r ref) file() string { return fmt.Sprintf("%s.%d", r.name, r.section) }

func (r ref) String() string { return fmt.Sprintf(`\fB%s\fR(%d)`, Escape(r.name), r.section) }

// page returns the text of one page.
func page(cmd *cobra.Command, section int) string {
	cmd.InitDefaultHelpFlag()
	b := NewBuilder(reference(cmd, section).name, section, cmd.Root().Name()+" "+cmd.Root().Version, cmd.Short)
	b.Section("SYNOPSIS")
	b.Text(cmd.UseLine())
	if long := strings.TrimSpace(cmd.Long); long != "" {
		b.Section("DESCRIPTION")
		b.Text(long)
	}

	if cmd.HasExample() {
		b.Section("EXAMPLES")
		b.Verbatim(cmd.Example)
	}
	b.options("OPTIONS", cmd.NonInheritedFlags())
	b.options("GLOBAL OPTIONS", cmd.InheritedFlags())
	b.commands(cmd, section)
	b.seeAlso(cmd, section)
	return b.String()
}

// options adds a section with all flags of a set, if it has some.
func (b *Builder) options(title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	b.Section(title)
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			b.Item(flagText(f), usage(f))
		}
	})
}

// flagText returns the names of a flag and the type of its value.
func flagText(f *pflag.Flag) string {
	text := "--" + f.Name
	if f.Shorthand != "" {
		text = "-" + f.Shorthand + ", " + text
	}
	if kind := valueType(f); kind != "bool" {
		text += " " + kind
	}
	return text
}

// valueType returns the value type of a flag as --help shows it.
func valueType(f *pflag.Flag) string {
	switch kind := f.Value.Type(); {
	case strings.HasSuffix(kind, "Array"), strings.HasSuffix(kind, "Slice"):
		return "list"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "int"
	default:
		return kind
	}
}

func usage(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "[]", "false", "0", "0s", "<nil>":
		return f.Usage
	}
	return f.Usage + " (default " + f.DefValue + ")"
}

func (b *Builder) commands(cmd *cobra.Command, section int) {
	subs := visible(cmd)
	if len(subs) == 0 {
		return
	}
	b.Section("COMMANDS")
	for _, sub := range subs {
		b.item(reference(sub, section).String(), sub.Short)
	}
}

func (b *Builder) seeAlso(cmd *cobra.Command, section int) {
	if !cmd.HasParent() {
		return
	}
	b.Section("SEE ALSO")
	b.line(reference(cmd.Parent(), section).String())
}
