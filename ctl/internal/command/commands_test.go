package command

import (
	"testing"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
)

func TestCommandsHaveTheirNames(t *testing.T) {
	for _, cmds := range commands() {
		for _, cmd := range cmds {
			if created := cmd.New(&cli.CLI{}); created.Name() != cmd.Name || len(created.Aliases) > 0 {
				t.Errorf("got command %s with aliases %q, want %s", created.Name(), created.Aliases, cmd.Name)
			}
		}
	}
}

func TestOneCommandIsCreated(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // empty: all commands
	}{
		{[]string{"ps"}, "ps"},
		{[]string{"run", "--help"}, "run"},
		{[]string{"container", "ls"}, "container"},
		{[]string{"-DH", "unix:///run/x", "--tlsverify", "--node", "ps", "images", "-a"}, "images"},
		{[]string{"--host=tcp://h:1", "ps", "--bogus"}, "ps"},
		{args: nil},
		{args: []string{"--help", "ps"}},
		{args: []string{"-h", "ps"}},
		{args: []string{"help", "ps"}},
		{args: []string{"__complete", "ps", ""}},
		{args: []string{"pss", "ps"}},
		{args: []string{"--bogus", "ps"}},
		{args: []string{"--version"}},
		{args: []string{"-H"}},
		{args: []string{"--", "--node", "ps"}},
	} {
		root := newRoot(&cli.CLI{})
		addCommand(&cli.CLI{}, root, c.args)

		got := root.Commands()
		if c.want == "" && len(got) < 40 || c.want != "" && (len(got) != 1 || got[0].Name() != c.want) {
			t.Errorf("%q: got %d commands, first %s, want %q", c.args, len(got), got[0].Name(), c.want)
		}
	}
}
