// Package ps has the command that lists containers. The agent filters them. Packages container and
// system call it.
package ps

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
	"github.com/fairlead/fairlead/proto/dockertext"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/id"
)

type listOptions struct {
	all, quiet, noTrunc bool
	fleet, size         bool
	last                int // -1: all
	latest              bool
	format              string
	filters             []string
}

// New returns the command that lists containers, with its name and aliases.
func New(c *cli.CLI, name string, aliases ...string) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     name + " [OPTIONS]",
		Aliases: aliases,
		Short:   "List containers",
		Long: `List containers.

Filters with the same key are alternatives (labels must all match); different keys must all match.
Keys: name=REGEXP, id=PREFIX, ancestor=IMAGE, network=NETWORK, publish=PORT[-END][/PROTO],
expose=PORT[-END][/PROTO], volume=NAME or PATH, before=CONTAINER, since=CONTAINER, exited=CODE,
health=none|starting|healthy|unhealthy, is-task=false, isolation=default,
status=created|running|paused|restarting|exited|removing|dead, label=KEY[=VALUE].

Template fields: .ID .Image .Command .CreatedAt .RunningFor .Ports .State .Status .Names .Labels
.Networks .Mounts .Size .Label "KEY" .Node. "table TEMPLATE" prints a table.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cli.FilterError(cmd, o.run(cmd.Context(), c))
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "Include stopped containers")
	f.IntVarP(&o.last, "last", "n", -1, "Show the last containers created, in any state (-1: all)")
	f.BoolVarP(&o.latest, "latest", "l", false, "Show the last container created, in any state")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Print only IDs")
	f.BoolVarP(&o.size, "size", "s", false, "Show the sizes of the writable layer and of all files")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate output")
	f.StringVar(&o.format, "format", format.Table, "Output format: table, json or a Go template")
	f.StringArrayVarP(&o.filters, "filter", "f", nil, "Filter: KEY=VALUE")
	f.BoolVar(&o.fleet, "fleet", false, "List the containers of all hosts of the fleet")
	return cmd
}

// row is a row of the list, with Docker's fields.
type row struct {
	Command      string
	CreatedAt    string
	ID           string
	Image        string
	Labels       string
	LocalVolumes string // always 0
	Mounts       string
	Names        string
	Networks     string
	Node         string `json:",omitempty"` // with --fleet, or in a template
	Ports        string
	RunningFor   string
	Size         string // N/A unless measured
	State        string
	Status       string

	labels map[string]string
}

// Label returns the value of one label.
func (r row) Label(key string) string { return r.labels[key] }

// Row returns an empty row, for the completion of templates.
func Row() any { return row{} }

const columns = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"

func header() row {
	return row{Command: "COMMAND", CreatedAt: "CREATED AT", ID: "CONTAINER ID", Image: "IMAGE", Labels: "LABELS",
		LocalVolumes: "LOCAL VOLUMES", Size: "SIZE", Mounts: "MOUNTS", Names: "NAMES",
		Networks: "NETWORKS", Node: "NODE", Ports: "PORTS", RunningFor: "CREATED", State: "STATE", Status: "STATUS"}
}

func (o *listOptions) run(ctx context.Context, c *cli.CLI) error {
	if o.latest {
		o.last = 1
	}

	req := &containerv1.ListContainersRequest{All: o.all, Filters: o.filters, Limit: uint32(max(o.last, 0)),
		Summary: true, Size: o.size || strings.Contains(o.format, ".Size")}
	list, nodes, err := c.Containers(ctx, req, o.fleet, strings.Contains(o.format, ".Node"))
	if err != nil {
		return err
	}

	rows := []row{}
	for _, ctr := range list { // newest first
		if o.last <= 0 || len(rows) < o.last {
			rows = append(rows, o.row(ctr, nodes[ctr], c.Now()))
		}
	}

	text, table := o.format, columns
	if o.size {
		table += "\t{{.Size}}"
	}
	if o.quiet {
		text = "{{.ID}}"
	}
	if o.fleet {
		table += "\t{{.Node}}"
	}

	return format.Print(c.Screen(), text, table, header(), rows)
}

func (o *listOptions) row(c *containerv1.Container, node string, now time.Time) row {
	cfg, created := c.GetConfig(), c.GetCreatedAt().AsTime()
	r := row{
		ID:           c.GetId(),
		Image:        cfg.GetImage(),
		Command:      commandLine(c.GetArgs()),
		CreatedAt:    created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		RunningFor:   dockertext.Duration(now.Sub(created)) + " ago",
		Labels:       labelList(cfg.GetLabels()),
		LocalVolumes: strconv.Itoa(volumeCount(cfg.GetMounts())),
		Size:         sizeOf(c),
		Mounts:       mountList(cfg.GetMounts()),
		Names:        cfg.GetName(),
		Networks:     networkList(c),
		Node:         node,
		State:        inspect.Status(c.GetStatus()),
		Status:       status(c, now),
		labels:       cfg.GetLabels(),
	}
	if inspect.HasProcess(c) {
		r.Ports = format.Ports(c.GetBindings(), c.GetExposed())
	}
	if !o.noTrunc {
		r.ID, r.Command = id.Short(r.ID), format.Ellipsis(r.Command, commandWidth)
	}

	r.Command = strconv.Quote(r.Command)
	return r
}

// sizeOf returns the column SIZE of a container.
func sizeOf(c *containerv1.Container) string {
	if c.SizeRw == nil {
		return "N/A"
	}
	return format.Size(c.GetSizeRw()) + " (virtual " + format.Size(c.GetSizeRootFs()) + ")"
}

// Cells returns the columns COMMAND and STATUS of a container, for other lists.
func Cells(c *containerv1.Container, now time.Time) (string, string) {
	return strconv.Quote(format.Ellipsis(commandLine(c.GetArgs()), commandWidth)), status(c, now)
}

// commandLine joins the words of a command as Docker does: words with spaces are in single quotes.
func commandLine(args []string) string {
	words := slices.Clone(args)
	for i := range words {
		if i > 0 && strings.Contains(words[i], " ") {
			words[i] = "'" + words[i] + "'"
		}
	}
	return strings.Join(words, " ")
}

// commandWidth is the number of characters of a command in the list.
const commandWidth = 20

// status returns the STATUS column of a container.
func status(c *containerv1.Container, now time.Time) string {
	switch c.GetStatus() {
	case containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING:
		return "Up " + dockertext.Duration(now.Sub(c.GetStartedAt().AsTime())) + healthText(c)
	case containerv1.ContainerStatus_CONTAINER_STATUS_PAUSED:
		return "Up " + dockertext.Duration(now.Sub(c.GetStartedAt().AsTime())) + " (Paused)"
	case containerv1.ContainerStatus_CONTAINER_STATUS_RESTARTING:
		return fmt.Sprintf("Restarting (%d) %s ago", c.GetExitCode(),
			dockertext.Duration(now.Sub(c.GetFinishedAt().AsTime())))
	case containerv1.ContainerStatus_CONTAINER_STATUS_DEAD:
		return "Dead"
	case containerv1.ContainerStatus_CONTAINER_STATUS_EXITED:
		return fmt.Sprintf("Exited (%d) %s ago", c.GetExitCode(),
			dockertext.Duration(now.Sub(c.GetFinishedAt().AsTime())))
	case containerv1.ContainerStatus_CONTAINER_STATUS_REMOVING:
		return "Removal In Progress"
	}
	return "Created"
}

// healthText returns the health in the STATUS column.
func healthText(c *containerv1.Container) string {
	switch inspect.HealthStatus(c) {
	case "starting":
		return " (health: starting)"
	case "none":
		return ""
	default:
		return " (" + inspect.HealthStatus(c) + ")"
	}
}

func labelList(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return strings.Join(out, ",")
}

func mountList(mounts []*containerv1.Mount) string {
	var out []string
	for _, m := range mounts {
		out = append(out, m.GetSource())
	}
	return strings.Join(out, ",")
}

func volumeCount(mounts []*containerv1.Mount) (n int) {
	for _, m := range mounts {
		if m.GetType() == containerv1.MountType_MOUNT_TYPE_VOLUME {
			n++
		}
	}
	return n
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
