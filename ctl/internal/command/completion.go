package command

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/command/complete"
	"github.com/fairlead/fairlead/ctl/internal/command/config"
	"github.com/fairlead/fairlead/ctl/internal/command/dns"
	"github.com/fairlead/fairlead/ctl/internal/command/fleet"
	"github.com/fairlead/fairlead/ctl/internal/command/image"
	"github.com/fairlead/fairlead/ctl/internal/command/network"
	"github.com/fairlead/fairlead/ctl/internal/command/ps"
	"github.com/fairlead/fairlead/ctl/internal/command/system"
	"github.com/fairlead/fairlead/ctl/internal/command/volume"
	"github.com/fairlead/fairlead/ctl/internal/inspect"
)

// completes reports whether the shell requests completions. Other commands do not run the code of
// this file.
func completes(args []string) bool { return len(args) > 0 && strings.HasPrefix(args[0], "__complete") }

// addCompletions sets the completions of the arguments and flags of each command. Arguments without
// an entry have no completions, not even files.
func addCompletions(c *cli.CLI, root *cobra.Command) {
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	arguments, flags := argumentCompletions(c), flagCompletions(c)
	for _, cmd := range leaves(root) {
		if f := arguments[shortPath(cmd)]; f != nil {
			cmd.ValidArgsFunction = f
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			offer := flags[shortPath(cmd)+" --"+f.Name]
			if offer == nil {
				offer = flags["--"+f.Name]
			}
			if offer != nil {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, offer)
			}
		})
	}
}

// leaves returns all commands without subcommands.
func leaves(cmd *cobra.Command) []*cobra.Command {
	if !cmd.HasSubCommands() {
		return []*cobra.Command{cmd}
	}
	var all []*cobra.Command
	for _, sub := range cmd.Commands() {
		all = append(all, leaves(sub)...)
	}
	return all
}

// shortPath returns the top-level name of a command, or its path if it has none: "ps" for container
// ls.
func shortPath(cmd *cobra.Command) string {
	_, path, _ := strings.Cut(cmd.CommandPath(), " ")
	same := map[string]string{"container ls": "ps", "image ls": "images", "image rm": "rmi"}
	if short := same[path]; short != "" {
		return short
	}
	group, name, below := strings.Cut(path, " ")
	if below && name != "inspect" && slices.Contains([]string{"container", "image"}, group) {
		return name
	}
	return path
}

func argumentCompletions(c *cli.CLI) map[string]complete.Func {
	running, stopped := complete.Containers(c, complete.Running), complete.Containers(c, complete.Stopped)
	anyContainer, images, networks := complete.Containers(c, complete.Any), complete.Images(c), complete.Networks(c,
		complete.AnyNetwork)
	users := complete.Networks(c, complete.UserNetwork)
	types := complete.Words("A", "AAAA", "CNAME", "TXT", "SRV", "PTR")
	all := map[string]complete.Func{
		"run": complete.First(images), "create": complete.First(images), "start": stopped, "stop": running,
		"restart": anyContainer, "kill": running,
		"rename": complete.First(anyContainer), "rm": anyContainer, "logs": complete.First(anyContainer),
		"exec":   complete.First(running),
		"attach": complete.First(running), "port": complete.First(running), "publish": complete.First(anyContainer),
		"unpublish": complete.First(anyContainer), "wait": running, "explain": complete.First(complete.Words("host")),
		"container inspect": anyContainer, "image inspect": images, "network inspect": networks,
		"inspect": complete.Objects(c),
		"images":  complete.First(images), "rmi": images, "tag": complete.First(images), "pull": complete.First(images),
		"push": complete.First(images), "save": images, "history": complete.First(images),
		"import": complete.First(complete.Files), "config check": complete.First(complete.Files),
		"cp": complete.Files, "diff": complete.First(anyContainer), "export": complete.First(anyContainer),
		"commit":    complete.First(anyContainer),
		"volume rm": complete.Volumes(c), "volume inspect": complete.Volumes(c),
		"dns record add": complete.At(complete.Nothing, types), "dns record rm": complete.At(complete.Nothing, types),
		"network rm": users, "network update": complete.First(users),
		"network connect": complete.At(users, anyContainer), "network disconnect": complete.At(networks, anyContainer),
	}

	return all
}

// signals lists the signals to complete.
var signals = []string{"HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "WINCH"}

func flagCompletions(c *cli.CLI) map[string]complete.Func {
	running, yes := complete.Containers(c, complete.Any), complete.Words("true", "false")
	users := complete.Networks(c, complete.UserNetwork)
	listed, one := []string{"json", "table"}, []string{"json"}
	return map[string]complete.Func{
		"--network": complete.Modes(c), "--link": running, "--pull": complete.Words("always", "missing",
			"never"), "--uts": complete.Words("host"),
		"--runtime": complete.Words("crun", "runc"), "--platform": complete.Words("linux/amd64", "linux/arm64",
			"linux/arm/v7"),
		"--publish-ignored": complete.Words("refuse",
			"warn"), "--signal": complete.Words(signals...), "--stop-signal": complete.Words(signals...),
		"--add-host": complete.Nothing, "--keep-netns": yes, "--sig-proxy": yes,
		"--driver-opt": complete.Words(networkEndpointOptions...),
		"--env-file":   complete.Files, "--label-file": complete.Files, "--cidfile": complete.Files,
		"--volume": complete.Files, "--input": complete.Files,
		"--tlscacert": complete.Files, "--tlscert": complete.Files, "--tlskey": complete.Files,
		"--workdir": complete.Nothing,
		"--mount": complete.Words("type=bind,source=", "type=volume,source=", "type=tmpfs,target=",
			"type=image,source="), "--tail": complete.Words("all"),
		"--volumes-from": running, "--volume-driver": complete.Words("local"),
		"--type": complete.Words("container", "image", "network", "volume"),

		"network create --driver": complete.Drivers(c), "network create --opt": complete.Words(networkOptions...),
		"--ipam-driver": complete.Words("default", "dhcp"), "--ipam": complete.Words("default",
			"dhcp"), "--scope": complete.Words("local"),
		"--config-from": complete.Networks(c, complete.UserNetwork),

		"ps --format": complete.Format(listed, ps.Row()), "images --format": complete.Format(listed,
			image.Row()),
		"history --format": complete.Format(listed, image.Step()),
		"search --format":  complete.Format(listed, image.Found()), "--output": complete.Files,
		"search --filter": complete.Words("is-official=true", "is-official=false", "stars="),
		"prune --filter":  complete.Words("until=", "label=", "label!="),
		"network ls --format": complete.Format(listed,
			network.Row()), "fleet ls --format": complete.Format(listed, fleet.Row()),
		"config show --format": complete.Format(listed, config.Row()),
		"info --format":        complete.Format(one, system.Info()), "version --format": complete.Format(one,
			system.Versions()),
		"df --format":            complete.Format(listed, system.DiskRow()),
		"dns record ls --format": complete.Format(listed, dns.RecordRow{}), "dns forward ls --format": complete.Format(
			listed, dns.ForwardRow{}),
		"dns record add --network": users, "dns record rm --network": users, "dns record ls --network": users,
		"dns forward add --network": users, "dns forward rm --network": users, "dns forward ls --network": users,
		"events --format": complete.Format(one, system.Event()),
		"container inspect --format": complete.Format(one,
			inspect.Container{}), "image inspect --format": complete.Format(one, inspect.Image{}),
		"network inspect --format": complete.Format(one, inspect.Network{}),
		"inspect --format":         complete.Format(one, inspect.Container{}, inspect.Image{}, inspect.Network{}),

		"ps --filter": complete.Words("name=", "id=", "label=", "status=created", "status=running", "status=exited",
			"status=removing",
			"ancestor=", "network=", "publish=", "expose=", "volume=", "before=", "since=", "exited="),
		"images --filter": complete.Words("dangling=true", "dangling=false", "reference=", "label=", "before=",
			"since=", "until="),
		"network ls --filter": complete.Words("name=", "id=", "driver=bridge", "driver=ipvlan", "driver=macvlan",
			"scope=local", "type=builtin",
			"type=custom", "dangling=true", "dangling=false", "label="),
		"volume ls --format":      complete.Format(listed, volume.Row()),
		"volume inspect --format": complete.Format(one, inspect.Volume{}),
		"volume create --driver":  complete.Words("local"),
		"volume create --opt":     complete.Words("type=", "o=", "device="),
		"volume ls --filter": complete.Words("name=", "driver=local", "label=", "dangling=true",
			"dangling=false"),
		"volume prune --filter":  complete.Words("label=", "label!=", "all=true"),
		"network prune --filter": complete.Words("until=", "label=", "label!="),
		"events --filter": complete.Words("type=container", "type=network", "type=image", "event=", "container=",
			"network=", "image=", "label="),
	}
}

// networkOptions lists the driver options of networks.
var networkOptions = []string{
	"com.docker.network.bridge.name=", "com.docker.network.bridge.enable_icc=",
	"com.docker.network.bridge.enable_ip_masquerade=",
	"com.docker.network.bridge.host_binding_ipv4=", "com.docker.network.bridge.inhibit_ipv4=",
	"com.docker.network.bridge.gateway_mode_ipv4=",
	"com.docker.network.bridge.gateway_mode_ipv6=", "com.docker.network.bridge.trusted_host_interfaces=",
	"com.docker.network.host_ipv4=",
	"com.docker.network.host_ipv6=", "com.docker.network.advertise_addr_nmsgs=",
	"com.docker.network.advertise_addr_ms=",
	"com.docker.network.driver.mtu=", "com.docker.network.container_iface_prefix=",
	"parent=", "macvlan_mode=", "ipvlan_mode=", "ipvlan_flag=", "host_access=", "conflict_detection=",
}

// networkEndpointOptions lists the endpoint options.
var networkEndpointOptions = []string{"com.docker.network.endpoint.ifname=", "com.docker.network.endpoint.sysctls=",
	"allowed-addresses="}
