// Package complete provides completion functions: names of objects of the agent, and words. It does
// not depend on a command; package command assigns the functions.
package complete

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/inspect"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// timeout limits calls to an agent that does not respond.
const timeout = time.Second

// Func returns the completions of one argument or flag.
type Func = cobra.CompletionFunc

// none disables the completion of files.
const none = cobra.ShellCompDirectiveNoFileComp

// Nothing returns no completions, not even files.
func Nothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return nil, none }

// Files completes files.
func Files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// Words completes words. A word that ends with "=" or ":" is completed without a space, for its
// value.
func Words(words ...string) Func {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return offered(words, typed)
	}
}

// offered returns the words that start with the typed text.
func offered(words []string, typed string) ([]string, cobra.ShellCompDirective) {
	directive := none
	var fit []string
	for _, w := range words {
		if !strings.HasPrefix(w, typed) {
			continue
		}
		if strings.HasSuffix(w, "=") || strings.HasSuffix(w, ":") || strings.HasSuffix(w, ".") {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		fit = append(fit, w)
	}

	return fit, directive
}

// names completes names of the agent that are not yet on the command line. It returns none if the
// agent does not respond.
func names(c *cli.CLI, list func(context.Context, *client.Client) ([]string, error)) Func {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		cl, err := c.Client()
		if err != nil {
			return nil, none
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		all, err := list(ctx, cl)
		if err != nil {
			return nil, none
		}
		all = slices.DeleteFunc(all, func(n string) bool { return slices.Contains(args, n) })
		return offered(all, typed)
	}
}

// Running reports whether a container is running.
func Running(c *containerv1.Container) bool {
	return inspect.IsRunning(c)
}

// Stopped reports whether a container can be started.
func Stopped(c *containerv1.Container) bool { return !Running(c) }

// Any accepts every container and reports whether it does: always true.
func Any(*containerv1.Container) bool { return true }

// Containers completes the names of the containers that keep accepts.
func Containers(c *cli.CLI, keep func(*containerv1.Container) bool) Func {
	return names(c, func(ctx context.Context, cl *client.Client) ([]string,
		error) {
		return containerNames(ctx, cl, keep)
	})
}

func containerNames(ctx context.Context, cl *client.Client, keep func(*containerv1.Container) bool) ([]string, error) {
	res, err := cl.Containers.ListContainers(ctx, &containerv1.ListContainersRequest{All: true})
	var all []string
	for _, ctr := range res.GetContainers() {
		if keep(ctr) {
			all = append(all, ctr.GetConfig().GetName())
		}
	}
	return all, err
}

// Images completes the names of images.
func Images(c *cli.CLI) Func { return names(c, imageNames) }

func imageNames(ctx context.Context, cl *client.Client) ([]string, error) {
	res, err := cl.Images.ListImages(ctx, &containerv1.ListImagesRequest{})
	var all []string
	for _, i := range res.GetImages() {
		for _, tag := range i.GetTags() {
			all = append(all, strings.TrimSuffix(tag, ":latest"))
		}
	}
	return all, err
}

// UserNetwork reports whether a network is not predefined and can be removed.
func UserNetwork(n *networkv1.Network) bool { return !n.GetPredefined() }

// AnyNetwork accepts every network and reports whether it does: always true.
func AnyNetwork(*networkv1.Network) bool { return true }

// Networks completes the names of the networks that keep accepts.
func Networks(c *cli.CLI, keep func(*networkv1.Network) bool) Func {
	return names(c, func(ctx context.Context, cl *client.Client) ([]string,
		error) {
		return networkNames(ctx, cl, keep)
	})
}

func networkNames(ctx context.Context, cl *client.Client, keep func(*networkv1.Network) bool) ([]string, error) {
	res, err := cl.Networks.ListNetworks(ctx, &networkv1.ListNetworksRequest{})
	var all []string
	for _, n := range res.GetNetworks() {
		if keep(n) {
			all = append(all, n.GetName())
		}
	}
	return all, err
}

// Modes completes the values of --network: networks and container:NAME.
func Modes(c *cli.CLI) Func {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if prefix := "container:"; strings.HasPrefix(typed, prefix) {
			found, directive := Containers(c, Running)(cmd, nil, strings.TrimPrefix(typed, prefix))
			for i := range found {
				found[i] = prefix + found[i]
			}
			return found, directive
		}
		found, directive := Networks(c, AnyNetwork)(cmd, nil, typed)
		more, more2 := offered([]string{"container:"}, typed)
		return append(found, more...), directive | more2
	}
}

// Volumes completes the names of volumes.
func Volumes(c *cli.CLI) Func { return names(c, volumeNames) }

func volumeNames(ctx context.Context, cl *client.Client) ([]string, error) {
	list, err := cl.ListVolumes(ctx, false)
	var all []string
	for _, v := range list {
		all = append(all, v.GetName())
	}
	return all, err
}

// Objects completes the names of containers, images, networks and volumes.
func Objects(c *cli.CLI) Func {
	return names(c, func(ctx context.Context, cl *client.Client) ([]string, error) {
		containers, err := containerNames(ctx, cl, Any)
		images, _ := imageNames(ctx, cl)
		networks, _ := networkNames(ctx, cl, AnyNetwork)
		volumes, _ := volumeNames(ctx, cl)
		return slices.Concat(containers, images, networks, volumes), err
	})
}

// Drivers completes the drivers for new networks: all but host and null, which have one network
// each.
func Drivers(c *cli.CLI) Func {
	return names(c, func(ctx context.Context, cl *client.Client) ([]string, error) {
		res, err := cl.Host.GetInfo(ctx, &hostv1.GetInfoRequest{})
		single := func(driver string) bool { return driver == "host" || driver == "null" }
		return slices.DeleteFunc(res.GetNetworkDrivers(), single), err
	})
}

// First completes only the first argument.
func First(f Func) Func { return At(f) }

// At completes arguments by position. Further arguments have no completions.
func At(functions ...Func) Func {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(functions) {
			return nil, none
		}
		return functions[len(args)](cmd, args, typed)
	}
}
