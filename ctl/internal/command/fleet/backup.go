package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// restorePart is the size of a message of a restore.
const restorePart = 1 << 20

func newBackup(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of the fleet with its keys, on a manager",
		Long: `Write a backup of the fleet with its keys, on a manager: all hosts, networks and addresses. Who has the
file can command all hosts. It is created with mode 0600, and an existing file is not replaced.`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return backup(cmd.Context(), c, args[0]) },
	}
}

func backup(ctx context.Context, c *cli.CLI, path string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	in, err := cl.Fleet.BackupFleet(ctx, &fleetv1.BackupFleetRequest{})
	if err != nil {
		return err
	}
	first, err := in.Recv() // an error must not leave a file
	if err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fault.New(fault.Unavailable, "file "+path, "cannot be created", fault.WithCause(err))
	}
	for part := first; err == nil; part, err = in.Recv() {
		if _, err := out.Write(part.GetData()); err != nil {
			return errors.Join(err, out.Close(), os.Remove(path))
		}
	}
	if !errors.Is(err, io.EOF) {
		return errors.Join(err, out.Close(), os.Remove(path))
	}
	return errors.Join(out.Sync(), out.Close())
}

func newRestore(c *cli.CLI) *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "restore [OPTIONS] FILE",
		Short: "Make this host the manager of a fleet that was backed up",
		Long: `Make this host the manager of a fleet that was backed up, with all its hosts, networks and addresses. Use it
after all managers were lost. Hosts of the fleet that still run connect to it if its address is that of a
lost manager; otherwise they leave with --force and join again. Other managers become members.`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return restore(cmd.Context(), c, args[0], address) },
	}
	cmd.Flags().StringVar(&address, "address", "", "Address for other hosts (default: that in the backup)")
	return cmd
}

func restore(ctx context.Context, c *cli.CLI, path, address string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fault.New(fault.Unavailable, "file "+path, "cannot be read", fault.WithCause(err))
	}
	cl, err := c.Client()
	if err != nil {
		return err
	}
	out, err := cl.Fleet.RestoreFleet(ctx)
	if err != nil {
		return err
	}
	for first := true; first || len(data) > 0; first = false {
		n := min(restorePart, len(data))
		if out.Send(&fleetv1.RestoreFleetRequest{Data: data[:n], Address: address}) != nil {
			break // CloseAndRecv returns the error
		}
		data = data[n:]
	}
	res, err := out.CloseAndRecv()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "Fleet %s restored. This host is %s with address %s, its only manager.\n",
		short(res.GetFleetId()), res.GetHost().GetName(), res.GetHost().GetAddress())
	return nil
}

func newRecover(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "recover",
		Short: "Continue a fleet with one manager after the others were lost",
		Long: `Continue a fleet with the store's copy on this manager, after so many managers were lost that the store
does not answer any more. Use it only if the others do not return with their store: a lost manager that
is started again must leave with --force first, and join again.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			if _, err := cl.Fleet.RecoverFleet(cmd.Context(), &fleetv1.RecoverFleetRequest{}); err != nil {
				return err
			}
			c.Println("The fleet continues with this manager. Remove the lost ones: fairlead fleet rm HOST")
			return nil
		},
	}
}
