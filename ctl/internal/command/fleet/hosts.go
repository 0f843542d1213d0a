package fleet

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// row is a row of the list.
type row struct {
	ID      string
	Name    string
	Role    string
	State   string
	Address string
	Joined  string
	Version string
	// DataPath is ok, or names the hosts that packets of containers do not reach.
	DataPath string
}

const columns = "{{.ID}}\t{{.Name}}\t{{.Role}}\t{{.State}}\t{{.Address}}\t{{.DataPath}}\t{{.Version}}"

var header = row{"HOST ID", "NAME", "ROLE", "STATE", "ADDRESS", "JOINED", "VERSION", "DATA PATH"}

// Row returns an empty row, for the completion of templates.
func Row() any { return row{} }

func newList(c *cli.CLI) *cobra.Command {
	var quiet bool
	var text string
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List the hosts of the fleet",
		Long: `List the hosts of the fleet. A host is suspect if it has not renewed its lease for 15 seconds.

Template fields: .ID .Name .Role .State .Address .Joined .Version .DataPath. "table TEMPLATE" prints a table.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if quiet {
				text = "{{.ID}}"
			}
			return list(cmd.Context(), c, text)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Print only IDs")
	cmd.Flags().StringVar(&text, "format", format.Table, "Output format: table, json or a Go template")
	return cmd
}

func list(ctx context.Context, c *cli.CLI, text string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	res, err := cl.Fleet.ListHosts(ctx, &fleetv1.ListHostsRequest{})
	if err != nil {
		return err
	}
	if res.GetOutdated() != "" {
		c.Warn("the list may be outdated: " + res.GetOutdated())
	}

	rows := []row{}
	for _, h := range res.GetHosts() {
		role, state := word(h.GetRole().String(), "HOST_ROLE_"), word(h.GetState().String(), "HOST_STATE_")
		rows = append(rows, row{h.GetId(), h.GetName(), role, state, h.GetAddress(), h.GetJoined().AsTime().String(),
			h.GetVersion(), dataPath(h)})
	}
	return format.Print(c.Screen(), text, columns, header, rows)
}

// dataPath returns whether packets of containers reach the other hosts.
func dataPath(h *fleetv1.Host) string {
	if h.GetState() != fleetv1.HostState_HOST_STATE_ALIVE {
		return "-"
	}
	var names []string
	for _, p := range h.GetProblems() {
		names = append(names, p.GetName())
	}
	if len(names) == 0 {
		return "ok"
	}
	return "broken: " + strings.Join(names, ",")
}

// word returns an enum value as a word in lower case.
func word(value, prefix string) string { return strings.ToLower(strings.TrimPrefix(value, prefix)) }

func newRemove(c *cli.CLI) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] HOST [HOST...]",
		Aliases: []string{"remove"},
		Short:   "Remove lost hosts from the fleet, on a manager",
		Args:    cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			return c.Each(cmd.Context(), args, func(ctx context.Context, reference string) (string, error) {
				_, err := cl.Fleet.RemoveHost(ctx, &fleetv1.RemoveHostRequest{Reference: reference, Force: force})
				return reference, err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Remove a host that is alive")
	return cmd
}

// document is the inspect document of this host's fleet.
type document struct {
	FleetID            string
	HostID             string
	HostName           string
	Role               string
	Store              []string
	StoreError         string
	CertificateExpires string
	Problems           []problem
	TunnelKeys         []tunnelKey
	ExternalStore      *externalStore
}

// externalStore is an etcd cluster that keeps the records of the fleet.
type externalStore struct {
	Endpoints          []string
	Prefix             string
	CertificateExpires string // empty on members
}

func newExternalStore(s *fleetv1.ExternalStore) *externalStore {
	if s == nil {
		return nil
	}
	shown := &externalStore{Endpoints: s.GetEndpoints(), Prefix: s.GetPrefix()}
	if s.GetCertificateExpires() != nil {
		shown.CertificateExpires = s.GetCertificateExpires().AsTime().Format(timeFormat)
	}
	return shown
}

const timeFormat = "2006-01-02T15:04:05Z"

// tunnelKey is a public key for encrypted networks.
type tunnelKey struct {
	Generation uint64
	PublicKey  []byte
	Port       uint32
}

// problem is a host that packets of containers do not reach.
type problem struct{ Host, Reason string }

func newInspect(c *cli.CLI) *cobra.Command {
	var text string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS]",
		Short: "Display this host's part in its fleet",
		Args:  cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			return c.Inspect(cmd.Context(), []string{""}, text, func(ctx context.Context, _ string) (any, error) {
				return inspect(ctx, cl)
			})
		},
	}
	cmd.Flags().StringVarP(&text, "format", "f", "", "Output format: json or a Go template")
	return cmd
}

func inspect(ctx context.Context, cl *client.Client) (document, error) {
	r, err := cl.Fleet.GetFleet(ctx, &fleetv1.GetFleetRequest{})
	if err != nil {
		return document{}, err
	}
	problems, keys := []problem{}, []tunnelKey{}
	for _, k := range r.GetTunnelKeys() {
		keys = append(keys, tunnelKey{k.GetGeneration(), k.GetPublicKey(), k.GetPort()})
	}
	for _, p := range r.GetProblems() {
		problems = append(problems, problem{p.GetName(), p.GetReason()})
	}
	return document{r.GetFleetId(), r.GetHostId(), r.GetHostName(),
		word(r.GetRole().String(), "HOST_ROLE_"), r.GetStore(), r.GetStoreError(),
		r.GetCertificateExpires().AsTime().Format(timeFormat), problems, keys,
		newExternalStore(r.GetExternalStore())}, nil
}
