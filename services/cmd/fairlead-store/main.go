// Command fairlead-store runs one member of the fleet's store on a manager. The agent starts it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent/manpage"
	"github.com/fairlead/fairlead/proto/version"
	"github.com/fairlead/fairlead/services/fleetstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fairlead-store:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	var c fleetstore.Config
	cmd := &cobra.Command{
		Use: "fairlead-store", Short: "Run one member of the store of a fleet",
		Long: `Run one member of the store of a fleet, an embedded etcd server. The agent of a manager starts it
with all options, and it outlives the agent.`,
		Version: version.Version, SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return fleetstore.Run(cmd.Context(), c) },
	}
	f := cmd.Flags()
	f.StringVar(&c.Name, "name", "", "Name of the member, unique in the store")
	f.StringVar(&c.Dir, "dir", "", "Directory of the database")
	f.StringVar(&c.ClientURL, "client-url", "", "URL for agents: https://ADDRESS:PORT")
	f.StringVar(&c.PeerURL, "peer-url", "", "URL for other members: https://ADDRESS:PORT")
	f.StringVar(&c.Cluster, "cluster", "", "Members at the first start: NAME=PEER-URL,...")
	f.BoolVar(&c.Existing, "existing", false, "Join the members instead of founding a store")
	f.BoolVar(&c.Recover, "recover", false, "Continue alone with the data of this member")
	f.StringVar(&c.CA, "ca", "", "Certificate that verifies clients")
	f.StringVar(&c.Cert, "cert", "", "Certificate of this member for clients")
	f.StringVar(&c.Key, "key", "", "Its key")
	f.StringVar(&c.PeerCA, "peer-ca", "", "Certificate that verifies other members")
	f.StringVar(&c.PeerCert, "peer-cert", "", "Certificate of this member for other members")
	f.StringVar(&c.PeerKey, "peer-key", "", "Its key")
	f.StringVar(&c.LogLevel, "log-level", "warn", "Level of the log: debug, info, warn or error")
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(manpage.NewCommand(8, nil))
	return cmd
}
