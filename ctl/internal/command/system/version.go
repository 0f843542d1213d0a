package system

import (
	"cmp"
	"context"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	"github.com/fairlead/fairlead/proto/version"
)

// versions holds the fields of `version`, which can be used in templates.
type versions struct {
	Client clientVersion
	Server *serverVersion `json:",omitempty"`
}

type clientVersion struct{ Version, APIVersion, GoVersion, Os, Arch string }

type serverVersion struct{ Version, APIVersion, Os, Arch, KernelVersion string }

// Versions returns empty versions, for the completion of templates.
func Versions() any { return versions{} }

func newVersion(c *cli.CLI) *cobra.Command {
	var clientOnly bool
	var text string
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the client and agent versions",
		Args:  cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showVersion(cmd.Context(), c, text, clientOnly)
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "Print only the client version")
	cmd.Flags().StringVarP(&text, "format", "f", "", "Output format: json or a Go template")
	return cmd
}

func showVersion(ctx context.Context, c *cli.CLI, text string, clientOnly bool) error {
	v := versions{Client: clientVersion{version.Version, version.API, runtime.Version(), runtime.GOOS, runtime.GOARCH}}
	var failure error
	if !clientOnly {
		v.Server, failure = agentVersion(ctx, c)
	}
	if text != "" {
		if err := format.Print(c.Screen(), text, "", versions{}, []versions{v}); err != nil {
			return err
		}
		return failure
	}

	c.Printf("Client:\n Version: %s\n API Version: %s\n Go Version: %s\n OS/Arch: %s/%s\n", v.Client.Version,
		v.Client.APIVersion,
		v.Client.GoVersion, v.Client.Os, v.Client.Arch)
	if v.Server != nil {
		c.Printf("\nAgent:\n Version: %s\n API Version: %s\n OS/Arch: %s/%s\n Kernel Version: %s\n", v.Server.Version,
			cmp.Or(v.Server.APIVersion, "1.0"), v.Server.Os, v.Server.Arch, v.Server.KernelVersion)
	}

	return failure
}

func agentVersion(ctx context.Context, c *cli.CLI) (*serverVersion, error) {
	cl, err := c.Client()
	if err != nil {
		return nil, err
	}
	res, err := cl.Host.GetInfo(ctx, &hostv1.GetInfoRequest{})
	if err != nil {
		return nil, err
	}
	return &serverVersion{res.GetVersion(), res.GetApiVersion(), res.GetOs(), res.GetArchitecture(),
		res.GetKernelVersion()}, nil
}
