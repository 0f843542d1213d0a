package system

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/escape"
	"github.com/fairlead/fairlead/ctl/internal/format"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
)

type eventsOptions struct {
	since, until, format string
	filters              []string
	fleet                bool
}

func newEvents(c *cli.CLI) *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:   "events [OPTIONS]",
		Short: "Print events of containers, networks and images in real time",
		Long: `Print events of containers, networks and images in real time.

Container actions: create, start, kill, stop, restart, die, oom, rename, destroy, prune, exec_create,
exec_start, exec_die, refuse; refuse: a policy refused a connection or a name, the first time for each
peer, port and rule, at most 60 times a minute for a container. Network actions: create, connect,
disconnect, update, destroy, prune, overlap; overlap: a host route overlaps the subnet. Image actions:
pull, push, load, save, import, tag, untag, delete, prune. Each service keeps its last 256 events until it restarts.
The exit code of a detached exec is known on Linux 6.15 or later.

Filters with the same key are alternatives (labels must all match); different keys must all match.
Keys: type=container|network|image|volume, event=ACTION, container=NAME|ID, network=NAME|ID,
image=NAME|ID, volume=NAME, label=KEY[=VALUE], scope=local.

Template fields: .Time .TimeNano .Type .Action .Actor.ID .Actor.Attributes .Scope .Node.`,
		Example: `  $ fairlead events --since 10m --filter type=network
  2026-11-26T17:00:00.000000000Z network create 3f2a… (name=backend, type=bridge)`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cli.FilterError(cmd, o.run(cmd.Context(), c))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.since, "since", "", "Include past events since a time or age (42m)")
	f.StringVar(&o.until, "until", "", "Stop at a time")
	f.StringVar(&o.format, "format", "", "Output format: json or a Go template")
	f.StringArrayVarP(&o.filters, "filter", "f", nil, "Filter: KEY=VALUE")
	f.BoolVar(&o.fleet, "fleet", false, "Print the events of all hosts of the fleet")
	return cmd
}

// span parses --since and --until.
func (o *eventsOptions) span(now time.Time) (since, until *timestamppb.Timestamp, err error) {
	read := func(flag, text string) *timestamppb.Timestamp {
		if text == "" || err != nil {
			return nil
		}
		var t time.Time
		t, err = cli.ParseTime(flag, text, now)
		return timestamppb.New(t)
	}
	return read("--since", o.since), read("--until", o.until), err
}

func (o *eventsOptions) run(ctx context.Context, c *cli.CLI) error {
	since, until, err := o.span(c.Now())
	if err != nil {
		return err
	}
	req := &containerv1.WatchEventsRequest{Since: since, Until: until, Filters: o.filters, All: true}
	if o.fleet {
		return watchFleet(ctx, c, req, func(e *eventv1.Event, node string) error { return o.print(c, e, node) })
	}
	cl, err := c.Client()
	if err != nil {
		return err
	}
	node := ""
	if strings.Contains(o.format, ".Node") {
		if node, err = cli.HostName(ctx, cl); err != nil {
			return err
		}
	}

	began := c.Now()
	err = watch(ctx, cl, req, func(e *eventv1.Event) error { return o.print(c, e, node) })

	return cli.Lost(err, "events are not recorded while the agent is stopped; continue with: fairlead events "+
		"--since %s", began.UTC().Format(time.RFC3339))
}

// watch calls show for the events of all services that the filters select, in order of time.
func watch(ctx context.Context, cl *client.Client, req *containerv1.WatchEventsRequest,
	show func(*eventv1.Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := cl.Containers.WatchEvents(ctx, req)
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = show(m.GetEvent())
		}
		if err != nil {
			return err
		}
	}
}

// event is an event in templates and JSON, with Docker's fields in Docker's order.
type event struct {
	Type   string
	Action string
	Actor  actor
	Scope  string `json:"scope"`
	Node   string `json:",omitempty"` // with --fleet, or in a template
	// Status, ID and From are Docker's deprecated names of a container's action, ID and image.
	Status   string `json:"status,omitempty"`
	ID       string `json:"id,omitempty"`
	From     string `json:"from,omitempty"`
	Time     int64  `json:"time"`
	TimeNano int64  `json:"timeNano"`
}

// Event returns an empty event, for the completion of templates.
func Event() any { return event{} }

type actor struct {
	ID         string
	Attributes map[string]string
}

func (o *eventsOptions) print(c *cli.CLI, e *eventv1.Event, node string) error {
	at := e.GetTime().AsTime()
	if o.format != "" {
		shown := event{Type: e.GetType(), Action: e.GetAction(), Actor: actor{e.GetId(), e.GetAttributes()},
			Scope: "local", Node: node, Time: at.Unix(), TimeNano: at.UnixNano()}
		if shown.Type == "container" {
			shown.Status, shown.ID, shown.From = e.GetAction(), e.GetId(), e.GetAttributes()["image"]
		}
		return format.Print(c.Screen(), o.format, "", event{}, []event{shown})
	}

	if node != "" {
		node = " " + node
	}
	c.Printf("%s%s %s %s %s (%s)\n", at.Local().Format("2006-01-02T15:04:05.000000000Z07:00"), escape.Line(node),
		escape.Line(e.GetType()), escape.Line(e.GetAction()), e.GetId(), attributesOf(e))

	return nil
}

func attributesOf(e *eventv1.Event) string {
	var out []string
	for key, value := range e.GetAttributes() {
		out = append(out, escape.Line(key+"="+value))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
