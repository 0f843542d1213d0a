package system

import (
	"context"
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
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
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
exec_start, exec_die. Network actions: create, connect, disconnect, update, destroy, prune, overlap;
overlap: a host route overlaps the subnet. Image actions: pull, push, load, save, import, tag, untag,
delete, prune. Each service keeps its last 256 events until it restarts.
The exit code of a detached exec is known on Linux 6.15 or later.

Filters with the same key are alternatives (labels must all match); different keys must all match.
Keys: type=container|network|image, event=ACTION, container=NAME|ID, network=NAME|ID, image=NAME|ID,
label=KEY[=VALUE].

Template fields: .Time .TimeNano .Type .Action .Actor.ID .Actor.Attributes .Scope .Node.`,
		Example: `  $ fairlead events --since 10m --filter type=network
  2026-11-26T17:00:00.000000000Z network create 3f2a… (name=backend, type=bridge)`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			fits, err := parseEventFilter(o.filters)
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
			}
			return o.run(cmd.Context(), c, fits)
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

func (o *eventsOptions) run(ctx context.Context, c *cli.CLI, fits func(*eventv1.Event) bool) error {
	since, until, err := o.span(c.Now())
	if err != nil {
		return err
	}

	if o.fleet {
		return watchFleet(ctx, c, since, until, func(e *eventv1.Event, node string) error {
			if !fits(e) {
				return nil
			}
			return o.print(c, e, node)
		})
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
	err = watch(ctx, cl, since, until, func(e *eventv1.Event) error {
		if !fits(e) {
			return nil
		}
		return o.print(c, e, node)
	})

	return cli.Lost(err, "events are not recorded while the agent is stopped; continue with: fairlead events "+
		"--since %s", began.UTC().Format(time.RFC3339))
}

// mergeWindow is the time that an event waits for simultaneous events of other services, so that
// they are printed in order.
const mergeWindow = 30 * time.Millisecond

// streamItem is an event, or the end of a stream.
type streamItem struct {
	event *eventv1.Event
	err   error
}

// watch calls show for the events of all services in order of time.
func watch(ctx context.Context, cl *client.Client, since, until *timestamppb.Timestamp,
	show func(*eventv1.Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := make(chan streamItem)
	receive := func(next func() (*eventv1.Event, error)) {
		for {
			e, err := next()
			select {
			case all <- streamItem{e, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}
	containers, err := cl.Containers.WatchEvents(ctx, &containerv1.WatchEventsRequest{Since: since, Until: until})
	if err != nil {
		return err
	}

	networks, err := cl.Networks.WatchEvents(ctx, &networkv1.WatchEventsRequest{Since: since, Until: until})
	if err != nil {
		return err
	}

	go receive(func() (*eventv1.Event, error) { m, err := containers.Recv(); return m.GetEvent(), err })
	go receive(func() (*eventv1.Event, error) { m, err := networks.Recv(); return m.GetEvent(), err })
	return merge(all, 2, show)
}

// merge calls show for the events of several streams. It sorts events within mergeWindow by time
// and returns when all streams have ended or one fails.
func merge(all <-chan streamItem, streams int, show func(*eventv1.Event) error) error {
	var batch []*eventv1.Event
	var due <-chan time.Time
	flush := func() error {
		slices.SortStableFunc(batch,
			func(a, b *eventv1.Event) int { return a.GetTime().AsTime().Compare(b.GetTime().AsTime()) })
		for _, e := range batch {
			if err := show(e); err != nil {
				return err
			}
		}
		batch, due = nil, nil
		return nil
	}
	for streams > 0 {
		select {
		case h := <-all:
			switch {
			case h.err == io.EOF:
				streams--
			case h.err != nil:
				if err := flush(); err != nil {
					return err
				}
				return h.err
			default:
				if batch = append(batch, h.event); due == nil {
					due = time.After(mergeWindow)
				}
			}
		case <-due:
			if err := flush(); err != nil {
				return err
			}
		}
	}

	return flush()
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
