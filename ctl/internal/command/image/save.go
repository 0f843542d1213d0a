package image

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/terminal"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newSave(c *cli.CLI) *cobra.Command {
	var output, platform string
	cmd := &cobra.Command{
		Use:   "save [OPTIONS] IMAGE [IMAGE...]",
		Short: "Save images to a tar archive (standard output by default)",
		Long: `Save images to a tar archive (standard output by default).

The archive is an OCI layout and an archive of docker save in one. A name without a tag saves all
tags of the repository. An ID saves the image without its names.`,
		Args: cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &containerv1.SaveImagesRequest{References: args, Platform: platform}
			if output != "" {
				return saveFile(cmd.Context(), c, req, output)
			}
			if terminal.Of(c.Out) != nil {
				return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
			}
			return save(cmd.Context(), c, req, c.Out)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file instead of standard output")
	cmd.Flags().StringVar(&platform, "platform", "", "Image platform: OS/ARCH[/VARIANT] (default: all)")
	return cmd
}

func save(ctx context.Context, c *cli.CLI, req *containerv1.SaveImagesRequest, out io.Writer) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	return cl.Save(ctx, req, out)
}

// saveFile writes to a temporary file and renames it, so that no incomplete archive has the name. It
// writes to an existing file that is not a regular one, such as a device, directly.
func saveFile(ctx context.Context, c *cli.CLI, req *containerv1.SaveImagesRequest, name string) (err error) {
	failed := func(err error) error {
		if p, ok := errors.AsType[*os.PathError](err); ok { // its path is that of the temporary file
			err = p.Err
		}
		return fault.New(fault.Invalid, "archive "+name, "cannot be written", fault.WithCause(err))
	}

	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return failed(err)
		}
		return errors.Join(save(ctx, c, req, f), f.Close())
	}

	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".tmp-") // mode 0600, as in Docker
	if err != nil {
		return failed(err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()

	err = save(ctx, c, req, f)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = failed(cerr)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return failed(err)
	}

	return nil
}
