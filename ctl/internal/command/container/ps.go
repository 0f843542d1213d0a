package container

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/ctl/internal/inspect"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/id"
)

type listOptions struct {
	all, quiet, noTrunc bool
	last                int // -1: all
	latest              bool
	format              string
	filters             []string
}

func newList(c *cli.CLI, name string, aliases ...string) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     name + " [OPTIONS]",
		Aliases: aliases,
		Short:   "List containers",
		Long: `List containers.

A template for --format has .ID .Image .Command .CreatedAt .RunningFor .Ports .State .Status .Names .Labels
.Networks .Mounts and .Label "KEY"; "table TEMPLATE" makes a table of it.

Filters of one kind are alternatives, of several kinds all must fit: name=REGEXP, id=PREFIX, ancestor=IMAGE,
network=NETWORK, publish=PORT[-END][/PROTOCOL], expose=PORT[-END][/PROTOCOL], volume=PATH, before=CONTAINER,
since=CONTAINER, exited=CODE, status=created|running|exited|removing, label=KEY or label=KEY=VALUE (all of
them must fit).`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := parseFilter(o.filters)
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
			}
			return o.run(cmd.Context(), c, f)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "Also those that do not run")
	f.IntVarP(&o.last, "last", "n", -1, "Only the last `N` that were created, in any state")
	f.BoolVarP(&o.latest, "latest", "l", false, "Only the last one that was created, in any state")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Only the ids")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not shorten ids and commands")
	f.StringVar(&o.format, "format", format.Table, "table, json, or a Go `TEMPLATE`")
	f.StringArrayVarP(&o.filters, "filter", "f", nil, "Only those that fit `KIND=VALUE`")
	return cmd
}

// row is a line of the list. The fields are Docker's.
type row struct {
	Command      string
	CreatedAt    string
	ID           string
	Image        string
	Labels       string
	LocalVolumes string // always 0: there are no volumes
	Mounts       string
	Names        string
	Networks     string
	Ports        string
	RunningFor   string
	Size         string // not measured
	State        string
	Status       string

	labels map[string]string
}

// Label is the value of one label.
func (r row) Label(key string) string { return r.labels[key] }

// Row is a line of the list, for those who complete templates.
func Row() any { return row{} }

const columns = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"

func header() row {
	return row{Command: "COMMAND", CreatedAt: "CREATED AT", ID: "CONTAINER ID", Image: "IMAGE", Labels: "LABELS", LocalVolumes: "LOCAL VOLUMES", Size: "SIZE", Mounts: "MOUNTS", Names: "NAMES",
		Networks: "NETWORKS", Ports: "PORTS", RunningFor: "CREATED", State: "STATE", Status: "STATUS"}
}

func (o *listOptions) run(ctx context.Context, c *cli.CLI, f filter) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	if o.latest {
		o.last = 1
	}
	// A status that is asked for, and a number of containers, are about those that do not run, too.
	stopped := o.all || f.aboutStopped() || o.last > 0
	list, err := cl.ListContainers(ctx, stopped || f.needsAll())
	if err == nil {
		err = f.unknown(list)
	}
	if err != nil {
		return err
	}
	rows := []row{}
	for _, ctr := range list { // the newest first
		shown := stopped || !f.needsAll() || ctr.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING
		if shown && f.fits(ctr, list) && (o.last <= 0 || len(rows) < o.last) {
			rows = append(rows, o.row(ctr, c.Now()))
		}
	}
	text := o.format
	if o.quiet {
		text = "{{.ID}}"
	}
	return format.Print(c.Screen(), text, columns, header(), rows)
}

func (o *listOptions) row(c *containerv1.Container, now time.Time) row {
	cfg, created := c.GetConfig(), c.GetCreatedAt().AsTime()
	r := row{
		ID:           c.GetId(),
		Image:        cfg.GetImage(),
		Command:      commandLine(c.GetArgs()),
		CreatedAt:    created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		RunningFor:   format.Duration(now.Sub(created)) + " ago",
		Labels:       labelList(cfg.GetLabels()),
		LocalVolumes: "0",
		Size:         "N/A",
		Mounts:       mountList(cfg.GetMounts()),
		Names:        cfg.GetName(),
		Networks:     networkList(c),
		State:        inspect.Status(c.GetStatus()),
		Status:       status(c, now),
		labels:       cfg.GetLabels(),
	}
	if c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING {
		r.Ports = format.Ports(c.GetBindings(), c.GetExposed())
	}
	if !o.noTrunc {
		r.ID, r.Command = id.Short(r.ID), format.Ellipsis(r.Command, commandWidth)
	}
	r.Command = strconv.Quote(r.Command)
	return r
}

// commandLine joins a command's words as Docker does: those with blanks in them stand in single quotes.
func commandLine(args []string) string {
	words := slices.Clone(args)
	for i := range words {
		if i > 0 && strings.Contains(words[i], " ") {
			words[i] = "'" + words[i] + "'"
		}
	}
	return strings.Join(words, " ")
}

// commandWidth is how much of a command the list shows.
const commandWidth = 20

// status says in words how a container is.
func status(c *containerv1.Container, now time.Time) string {
	switch c.GetStatus() {
	case containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING:
		return "Up " + format.Duration(now.Sub(c.GetStartedAt().AsTime()))
	case containerv1.ContainerStatus_CONTAINER_STATUS_EXITED:
		return fmt.Sprintf("Exited (%d) %s ago", c.GetExitCode(), format.Duration(now.Sub(c.GetFinishedAt().AsTime())))
	case containerv1.ContainerStatus_CONTAINER_STATUS_REMOVING:
		return "Removal In Progress"
	}
	return "Created"
}

func labelList(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return strings.Join(out, ",")
}

func mountList(mounts []*containerv1.BindMount) string {
	var out []string
	for _, m := range mounts {
		out = append(out, m.GetSource())
	}
	return strings.Join(out, ",")
}

func networkList(c *containerv1.Container) string {
	var out []string
	for _, e := range c.GetSandbox().GetEndpoints() {
		out = append(out, e.GetNetworkName())
	}
	if len(out) == 0 {
		return c.GetConfig().GetNetwork().GetMode()
	}
	return strings.Join(out, ",")
}
