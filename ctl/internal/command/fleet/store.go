package fleet

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// maxPEM limits the size of files with certificates and keys.
const maxPEM = 1 << 20

// storeFlags are the options for an etcd cluster that keeps the records of a fleet.
type storeFlags struct {
	endpoints             []string
	ca, cert, key, prefix string
}

func (f *storeFlags) register(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.endpoints, "store", nil, "URLs of an etcd cluster that keeps the records of the fleet")
	flags.StringVar(&f.ca, "store-ca", "", "File with the certificates that verify the servers of the etcd cluster")
	flags.StringVar(&f.cert, "store-cert", "", "File with the client certificate for the etcd cluster")
	flags.StringVar(&f.key, "store-key", "", "File with the key of the client certificate")
}

// read returns the etcd cluster with the content of the files, and nil if no option is given.
func (f *storeFlags) read() (*fleetv1.ExternalStore, error) {
	if len(f.endpoints) == 0 && f.ca+f.cert+f.key+f.prefix == "" {
		return nil, nil
	}
	s := &fleetv1.ExternalStore{Endpoints: f.endpoints, Prefix: f.prefix}
	for _, file := range []struct {
		option, path string
		data         *[]byte
	}{{"store-ca", f.ca, &s.Ca}, {"store-cert", f.cert, &s.Certificate}, {"store-key", f.key, &s.Key}} {
		if file.path == "" {
			continue
		}
		info, err := os.Stat(file.path)
		if err == nil && (!info.Mode().IsRegular() || info.Size() > maxPEM) {
			err = fmt.Errorf("it is not a file with a certificate or key")
		}
		if err == nil {
			*file.data, err = os.ReadFile(file.path)
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "--"+file.option, "cannot be read", fault.WithCause(err))
		}
	}
	return s, nil
}

func newUpdate(c *cli.CLI) *cobra.Command {
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "update [OPTIONS]",
		Short: "Replace the credentials of the etcd cluster of a fleet, on a manager",
		Long: `Replace the credentials or the URLs of the etcd cluster that keeps the records of the fleet, on a manager.
The other managers get them within seconds. What is not given stays as it is.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			external, err := store.read()
			if err != nil {
				return err
			}
			if external == nil {
				return fault.New(fault.Invalid, "fleet update", "has nothing to change",
					fault.WithHint("use --store-cert and --store-key, --store-ca or --store"))
			}
			cl, err := c.Client()
			if err != nil {
				return err
			}
			if _, err := cl.Fleet.UpdateStore(cmd.Context(),
				&fleetv1.UpdateStoreRequest{ExternalStore: external}); err != nil {
				return err
			}
			c.Println("The etcd cluster of the fleet is updated.")
			return nil
		},
	}
	store.register(cmd.Flags())
	return cmd
}
