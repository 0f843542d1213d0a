// Command fairlead-cni is a CNI plugin: it attaches pods of containerd, CRI-O, podman and other runtimes
// to networks of Fairlead. A runtime runs it with CNI's environment variables and a configuration on the
// standard input. See package ctl/internal/cni and docs/cni.md.
package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	cniversion "github.com/containernetworking/cni/pkg/version"

	"github.com/fairlead/fairlead/ctl/internal/cni"
	"github.com/fairlead/fairlead/proto/version"
)

const (
	// commandTimeout limits one command.
	commandTimeout = 2 * time.Minute
	// statusTimeout limits STATUS, which must not wait for a service that starts.
	statusTimeout = 5 * time.Second
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		_, _ = os.Stdout.WriteString("fairlead-cni version " + version.Version + "\n")
		return
	}
	skel.PluginMainFuncs(skel.CNIFuncs{
		Add: command(commandTimeout, add), Del: command(commandTimeout, del), Check: command(commandTimeout, check),
		GC: command(commandTimeout, collect), Status: command(statusTimeout, status),
	}, cniversion.All, "CNI plugin fairlead-cni "+version.Version)
}

// call is one command with its parameters.
type call struct {
	plugin     *cni.Plugin
	attachment cni.Attachment
	config     cni.Config
}

// command returns the function of a command. It parses the parameters and connects to the services.
func command(limit time.Duration, do func(context.Context, call) error) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		config, err := cni.ParseConfig(args.StdinData)
		if err != nil {
			return cni.Error(err)
		}
		parsed, err := cni.ParseArgs(args.Args)
		if err != nil {
			return cni.Error(err)
		}

		plugin, err := connect(config.ExecRoot)
		if err != nil {
			return cni.Error(err)
		}
		err = do(ctx, call{plugin, cni.Attachment{ContainerID: args.ContainerID, Interface: args.IfName,
			Namespace: absolute(args.Netns), Args: parsed}, config})
		if err == nil {
			return nil // not a nil *types.Error in an error
		}
		return cni.Error(err)
	}
}

// absolute returns the path of a namespace for another process.
func absolute(path string) string {
	if rest, own := strings.CutPrefix(path, "/proc/self/"); own {
		return "/proc/" + strconv.Itoa(os.Getpid()) + "/" + rest
	}
	return path
}

func add(ctx context.Context, c call) error {
	added, err := c.plugin.Add(ctx, c.attachment, c.config)
	if err != nil {
		return err
	}
	result, err := cni.Result(c.attachment, c.config, added)
	if err != nil {
		return err
	}
	return types.PrintResult(result, c.config.CNIVersion)
}

func del(ctx context.Context, c call) error { return c.plugin.Delete(ctx, c.attachment) }

func check(ctx context.Context, c call) error {
	if c.config.RawPrevResult == nil {
		return types.NewError(types.ErrInvalidNetworkConfig,
			"the configuration has no prevResult, which CHECK requires", "")
	}
	if err := cniversion.ParsePrevResult(&c.config.PluginConf); err != nil {
		return types.NewError(types.ErrDecodingFailure, "prevResult cannot be parsed: "+err.Error(), "")
	}
	result, err := types100.NewResultFromResult(c.config.PrevResult)
	if err != nil {
		return types.NewError(types.ErrDecodingFailure, "prevResult cannot be converted: "+err.Error(), "")
	}
	return c.plugin.Check(ctx, c.attachment, c.config, result)
}

func collect(ctx context.Context, c call) error { return c.plugin.Collect(ctx, c.config) }

func status(ctx context.Context, c call) error {
	if err := c.plugin.Status(ctx, c.config); err != nil {
		return cni.StatusError(err)
	}
	return nil
}
