package command

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/agent/manpage"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/command/config"
	"github.com/fairlead/fairlead/ctl/internal/command/container"
	"github.com/fairlead/fairlead/ctl/internal/command/dns"
	"github.com/fairlead/fairlead/ctl/internal/command/fleet"
	"github.com/fairlead/fairlead/ctl/internal/command/image"
	"github.com/fairlead/fairlead/ctl/internal/command/network"
	"github.com/fairlead/fairlead/ctl/internal/command/policy"
	"github.com/fairlead/fairlead/ctl/internal/command/registry"
	"github.com/fairlead/fairlead/ctl/internal/command/system"
	"github.com/fairlead/fairlead/ctl/internal/command/traffic"
	"github.com/fairlead/fairlead/ctl/internal/command/volume"
)

// Groups of the help text.
const (
	manage = "manage"
	common = "common"
)

// commands returns the commands of the top level by their group in the help text.
func commands() map[string][]cli.Command {
	return map[string][]cli.Command{
		manage: {
			{Name: "container", New: container.Group}, {Name: "image", New: image.Group},
			{Name: "network", New: network.Group}, {Name: "fleet", New: fleet.Group},
			{Name: "volume", New: volume.Group}, {Name: "policy", New: policy.Group},
			{Name: "dns", New: dns.Group}, {Name: "config", New: config.Group},
			{Name: "system", New: system.Group},
		},
		common: slices.Concat(container.Commands(), image.Commands(), registry.Commands(), policy.Commands(),
			traffic.Commands(), system.Commands()),
	}
}

// addCommand adds the command that args name, and no other: a command with its flags takes longer to
// create than to run. It adds all commands if args name none, as help, completion, man pages and
// suggestions are about all.
func addCommand(c *cli.CLI, root *cobra.Command, args []string) {
	name := commandName(root, args)
	for group, cmds := range commands() {
		for _, cmd := range cmds {
			if cmd.Name == name {
				add(c, root, group, cmd)
				return
			}
		}
	}

	addCommands(c, root)
}

// addCommands adds all commands.
func addCommands(c *cli.CLI, root *cobra.Command) {
	for group, cmds := range commands() {
		for _, cmd := range cmds {
			add(c, root, group, cmd)
		}
	}

	root.AddCommand(manpage.NewCommand(1, nil))
}

func add(c *cli.CLI, root *cobra.Command, group string, cmd cli.Command) {
	created := cmd.New(c)
	created.GroupID = group
	root.AddCommand(created)
}

// commandName returns the first argument after the flags of root. It is empty if one of the flags is
// not valid or asks for help.
func commandName(root *cobra.Command, args []string) string {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.Usage = func() {}
	f.SetInterspersed(false)
	f.AddFlagSet(root.PersistentFlags())
	if err := f.Parse(args); err != nil || f.Changed("help") {
		return ""
	}
	return f.Arg(0)
}
