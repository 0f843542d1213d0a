package image

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/terminal"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newLoad(c *cli.CLI) *cobra.Command {
	var input, platform string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "load [OPTIONS]",
		Short: "Load images from a tar archive or OCI layout",
		Args:  cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withArchive(c, input, func(r io.Reader) error { return load(cmd.Context(), c, r, platform, quiet) })
		},
	}
	cmd.Flags().StringVarP(&input, "input", "i", "", "Read from a file instead of standard input")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress output")
	cmd.Flags().StringVar(&platform, "platform", "", "Image platform: OS/ARCH[/VARIANT] (default: all)")
	return cmd
}

// withArchive opens a file, or uses standard input for an empty name or "-".
func withArchive(c *cli.CLI, name string, do func(io.Reader) error) error {
	if name == "" || name == "-" {
		if terminal.Of(c.In) != nil {
			return errors.New("cannot read the archive from a terminal: name a file")
		}
		return do(c.In)
	}

	f, err := os.Open(name)
	if err != nil {
		return fault.New(fault.Invalid, "archive "+name, "cannot be read", fault.WithCause(err))
	}
	defer func() { _ = f.Close() }()
	return do(f)
}

func load(ctx context.Context, c *cli.CLI, r io.Reader, platform string, quiet bool) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	progress := c.Progress(quiet)
	defer progress.Finish()
	images, err := cl.LoadReporting(ctx, r, platform, progress.Show)
	progress.Finish()
	if err != nil || quiet {
		return err
	}

	printed := map[string]bool{} // images of two platforms share a tag
	for _, i := range images {
		for _, tag := range i.GetTags() {
			if !printed[tag] {
				c.Println("Loaded image: " + tag)
			}
			printed[tag] = true
		}
		if len(i.GetTags()) == 0 {
			c.Println("Loaded image ID: " + i.GetId())
		}
	}

	return nil
}

type importOptions struct {
	changes           []string
	platform, message string
}

func newImport(c *cli.CLI) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import [OPTIONS] FILE|- [NAME[:TAG]]",
		Short: "Create an image from a root file system archive",
		Args:  cli.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts := &containerv1.ImportOptions{Changes: o.changes, Platform: o.platform, Message: o.message}
			if len(args) == 2 {
				opts.Reference = args[1]
			}
			return withArchive(c, args[0], func(r io.Reader) error { return importArchive(cmd.Context(), c, opts, r) })
		},
	}
	cmd.Flags().StringArrayVarP(&o.changes, "change", "c", nil,
		"Apply a Dockerfile instruction (CMD, ENV, EXPOSE, …)")
	cmd.Flags().StringVarP(&o.message, "message", "m", "", "Commit message, the comment in the history")
	cmd.Flags().StringVar(&o.platform, "platform", "", "Image platform: OS/ARCH[/VARIANT] (default: the host's)")
	return cmd
}

func importArchive(ctx context.Context, c *cli.CLI, opts *containerv1.ImportOptions, r io.Reader) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	i, err := cl.Import(ctx, opts, r)
	if err != nil {
		return err
	}
	c.Println(i.GetId())
	return nil
}
