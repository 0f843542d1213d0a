// Package complete offers what can stand at a place of the command line: names that the running agent knows, and words. It knows
// no command; package command says which function is for which place.
package complete

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// timeout bounds the calls to an agent that does not respond: the user waits with a finger on the Tab key.
const timeout = time.Second

// Func offers the words for one place.
type Func = cobra.CompletionFunc

// none is the directive of all places that are not files.
const none = cobra.ShellCompDirectiveNoFileComp

// Nothing offers nothing, not even files.
func Nothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return nil, none }

// Files offers the files that the shell finds.
func Files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// Words offers words. One that ends with "=" or ":" waits for its value behind it.
func Words(words ...string) Func {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return offered(words, typed)
	}
}

// offered are those of some words that go on from what is typed.
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

// names asks the agent for names, and offers those that are not on the command line already. An agent that does not respond has none.
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

// Running is a container whose process runs.
func Running(c *containerv1.Container) bool {
	return c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING
}

// Stopped is a container that can be started.
func Stopped(c *containerv1.Container) bool { return !Running(c) }

// Any is any container.
func Any(*containerv1.Container) bool { return true }

// Containers offers the names of containers.
func Containers(c *cli.CLI, keep func(*containerv1.Container) bool) Func {
	return names(c, func(ctx context.Context, cl *client.Client) ([]string, error) { return containerNames(ctx, cl, keep) })
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

// Images offers the names of images.
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

// UserNetwork is a network that users have created, and may remove.
func UserNetwork(n *networkv1.Network) bool { return !n.GetPredefined() }

// AnyNetwork is any network.
func AnyNetwork(*networkv1.Network) bool { return true }

// Networks offers the names of networks.
func Networks(c *cli.CLI, keep func(*networkv1.Network) bool) Func {
	return names(c, func(ctx context.Context, cl *client.Client) ([]string, error) { return networkNames(ctx, cl, keep) })
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

// Modes offers what --network takes: networks, and containers whose network is shared.
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

// Objects offers the names of containers, images and networks.
func Objects(c *cli.CLI) Func {
	return names(c, func(ctx context.Context, cl *client.Client) ([]string, error) {
		containers, err := containerNames(ctx, cl, Any)
		images, _ := imageNames(ctx, cl)
		networks, _ := networkNames(ctx, cl, AnyNetwork)
		return slices.Concat(containers, images, networks), err
	})
}

// Drivers offers the drivers by which networks can be created: all of the agent's but those of which there is one network each.
func Drivers(c *cli.CLI) Func {
	return names(c, func(ctx context.Context, cl *client.Client) ([]string, error) {
		res, err := cl.Host.GetInfo(ctx, &hostv1.GetInfoRequest{})
		single := func(driver string) bool { return driver == "host" || driver == "null" }
		return slices.DeleteFunc(res.GetNetworkDrivers(), single), err
	})
}

// First offers words for the first argument only.
func First(f Func) Func { return At(f) }

// At offers words by the argument's place: the first function is for the first argument, and so on. Behind the last there is nothing.
func At(places ...Func) Func {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(places) {
			return nil, none
		}
		return places[len(args)](cmd, args, typed)
	}
}
