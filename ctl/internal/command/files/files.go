// Package files holds the commands that read and write the files of containers.
package files

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/terminal"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// changeLetters holds Docker's letters for changes.
var changeLetters = map[containerv1.FileChangeKind]string{
	containerv1.FileChangeKind_FILE_CHANGE_KIND_CHANGED: "C",
	containerv1.FileChangeKind_FILE_CHANGE_KIND_ADDED:   "A",
	containerv1.FileChangeKind_FILE_CHANGE_KIND_DELETED: "D",
}

// Diff returns the command `fairlead diff`.
func Diff(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "diff CONTAINER",
		Short: "Show which files differ from the image",
		Long:  "Show which files differ from the image: C for changed, A for added, D for deleted.",
		Args:  cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			res, err := cl.Files.ListChanges(cmd.Context(), &containerv1.ListChangesRequest{Reference: args[0]})
			if err != nil {
				return err
			}
			for _, change := range res.GetChanges() {
				c.Println(changeLetters[change.GetKind()] + " " + change.GetPath())
			}
			return nil
		},
	}
}

// Export returns the command `fairlead export`.
func Export(c *cli.CLI) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export [OPTIONS] CONTAINER",
		Short: "Export the root file system as a tar archive",
		Long: `Export the root file system of a container as a tar archive, to standard output by default.

Volumes and other mounts are left out.`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" && terminal.Of(c.Out) != nil {
				return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
			}
			cl, err := c.Client()
			if err != nil {
				return err
			}
			if output == "" {
				return export(cmd.Context(), cl, args[0], c.Out)
			}
			return exportFile(cmd.Context(), cl, args[0], output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file instead of standard output")
	return cmd
}

func export(ctx context.Context, cl *client.Client, reference string, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := cl.Files.ExportContainer(ctx, &containerv1.ExportContainerRequest{Reference: reference})
	if err != nil {
		return err
	}

	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			_, err = out.Write(piece.GetData())
		}
		if err != nil {
			return err
		}
	}
}

// exportFile writes to a temporary file and renames it, so that no incomplete archive has the name.
func exportFile(ctx context.Context, cl *client.Client, reference, name string) error {
	failed := func(err error) error {
		return fault.New(fault.Invalid, "archive "+name, "cannot be written", fault.WithCause(err))
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".tmp-") // mode 0600, as in Docker
	if err != nil {
		return failed(err)
	}

	if err := errors.Join(export(ctx, cl, reference, f), f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		_ = os.Remove(f.Name())
		return failed(err)
	}

	return nil
}
