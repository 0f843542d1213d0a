package fleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

type certificateOptions struct {
	valid  time.Duration
	dir    string
	revoke bool
}

func newCertificate(c *cli.CLI) *cobra.Command {
	var o certificateOptions
	cmd := &cobra.Command{
		Use:   "certificate [OPTIONS] NAME",
		Short: "Create the certificate with which a person commands the fleet",
		Long: `Create the certificate with which a person commands the fleet, for example from a laptop, on a manager.

It writes ca.pem, cert.pem and key.pem to a new directory. With them, the command line connects to the
fleet port of any manager. An earlier certificate of the same name is not accepted any more.`,
		Example: `  $ fairlead fleet certificate anna
  $ export FAIRLEAD_HOST=tcp://192.0.2.1:7450 FAIRLEAD_TLS_VERIFY=1 FAIRLEAD_CERT_PATH=$PWD/anna
  $ fairlead --node two ps`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.revoke {
				return revoke(cmd.Context(), c, args[0])
			}
			return o.create(cmd.Context(), c, args[0])
		},
	}
	cmd.Flags().DurationVar(&o.valid, "valid", 30*24*time.Hour, "How long the certificate is valid, at most 8784h")
	cmd.Flags().StringVarP(&o.dir, "output", "o", "", "Directory to create (default: the name)")
	cmd.Flags().BoolVar(&o.revoke, "revoke", false, "Revoke the certificate")
	return cmd
}

func revoke(ctx context.Context, c *cli.CLI, name string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	if _, err := cl.Fleet.RevokeCertificate(ctx, &fleetv1.RevokeCertificateRequest{Name: name}); err != nil {
		return err
	}
	c.Println("Certificate of " + name + " revoked.")
	return nil
}

func (o certificateOptions) create(ctx context.Context, c *cli.CLI, name string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	dir := o.dir
	if dir == "" {
		dir = name
	}
	if _, err := os.Lstat(dir); err == nil {
		return fault.New(fault.Exists, "directory "+dir, "exists already", fault.WithHint("use --output"))
	}
	res, err := cl.Fleet.CreateCertificate(ctx, &fleetv1.CreateCertificateRequest{Name: name,
		Valid: durationpb.New(o.valid)})
	if err != nil {
		return err
	}

	if err := os.Mkdir(dir, 0o700); err != nil {
		return fault.New(fault.Unavailable, "directory "+dir, "cannot be created", fault.WithCause(err))
	}
	for file, data := range map[string][]byte{"ca.pem": res.GetCa(), "cert.pem": res.GetCertificate(),
		"key.pem": res.GetKey()} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			return fault.New(fault.Unavailable, "file "+file, "cannot be written", fault.WithCause(err))
		}
	}

	path, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "Certificate of %s written to %s, valid until %s. To use it:\n\n", name, dir,
		res.GetExpires().AsTime().Local().Format(time.DateTime))
	for _, manager := range res.GetManagers()[:min(1, len(res.GetManagers()))] {
		fmt.Fprintf(c.Out, "    export FAIRLEAD_HOST=%s FAIRLEAD_TLS_VERIFY=1 FAIRLEAD_CERT_PATH=%s\n", manager, path)
	}
	return nil
}
