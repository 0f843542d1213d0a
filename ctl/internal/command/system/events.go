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
}

func newEvents(c *cli.CLI) *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:   "events [OPTIONS]",
		Short: "Show what happens to containers and networks, as it happens",
		Long: `Show what happens to containers and networks, as it happens: create, start, kill, stop, restart, die, oom, rename and destroy of
containers, exec_create, exec_start and exec_die of further processes in them, create, connect, disconnect, update, destroy and prune of networks,
and overlap where a route of the host comes to overlap a network.

The exitCode of a detached exec is known where the kernel is Linux 6.15 or later.

Only the last few hundred are remembered for --since, and none when the agent starts anew.

Filters of one kind are alternatives, of several kinds all must fit: type=container|network, event=ACTION, container=NAME or ID,
network=NAME or ID, image=NAME, label=KEY or label=KEY=VALUE (all of them must fit).

A template for --format has .Time .TimeNano .Type .Action .Actor.ID .Actor.Attributes and .Scope.`,
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
	f.StringVar(&o.since, "since", "", "Also what has happened since `TIME`: 2006-01-02T15:04:05Z, seconds since 1970, or how long ago, as 42m")
	f.StringVar(&o.until, "until", "", "Only until `TIME`, and end then")
	f.StringVar(&o.format, "format", "", "json, or a Go `TEMPLATE`")
	f.StringArrayVarP(&o.filters, "filter", "f", nil, "Only those that fit `KIND=VALUE`")
	return cmd
}

// span reads --since and --until.
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
	cl, err := c.Client()
	if err != nil {
		return err
	}
	began := c.Now()
	err = watch(ctx, cl, since, until, func(e *eventv1.Event) error {
		if !fits(e) {
			return nil
		}
		return o.print(c, e)
	})
	return cli.Lost(err, "events of an agent that is not there are not recorded; to read on: fairlead events --since %s", began.UTC().Format(time.RFC3339))
}

// mergeWindow is how long an event waits for those that another service tells of at the same time, so that they are in order.
const mergeWindow = 30 * time.Millisecond

// streamItem is an event, or the end of a stream of them.
type streamItem struct {
	event *eventv1.Event
	err   error
}

// watch hands on the events of all services in the order of their times.
func watch(ctx context.Context, cl *client.Client, since, until *timestamppb.Timestamp, show func(*eventv1.Event) error) error {
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

// merge hands on what some streams tell of, sorted by time as far as it comes together, until all have ended or one has failed.
func merge(all <-chan streamItem, streams int, show func(*eventv1.Event) error) error {
	var batch []*eventv1.Event
	var due <-chan time.Time
	flush := func() error {
		slices.SortStableFunc(batch, func(a, b *eventv1.Event) int { return a.GetTime().AsTime().Compare(b.GetTime().AsTime()) })
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

// event is one as a template sees it. The fields and their order are Docker's.
type event struct {
	Type   string
	Action string
	Actor  actor
	Scope  string `json:"scope"`
	// Status, ID and From are earlier names of a container's action, id and image, which scripts still read.
	Status   string `json:"status,omitempty"`
	ID       string `json:"id,omitempty"`
	From     string `json:"from,omitempty"`
	Time     int64  `json:"time"`
	TimeNano int64  `json:"timeNano"`
}

// Event is what a template of `events` sees, for those who complete it.
func Event() any { return event{} }

type actor struct {
	ID         string
	Attributes map[string]string
}

func (o *eventsOptions) print(c *cli.CLI, e *eventv1.Event) error {
	at := e.GetTime().AsTime()
	if o.format != "" {
		shown := event{Type: e.GetType(), Action: e.GetAction(), Actor: actor{e.GetId(), e.GetAttributes()},
			Scope: "local", Time: at.Unix(), TimeNano: at.UnixNano()}
		if shown.Type == "container" {
			shown.Status, shown.ID, shown.From = e.GetAction(), e.GetId(), e.GetAttributes()["image"]
		}
		return format.Print(c.Screen(), o.format, "", event{}, []event{shown})
	}
	c.Printf("%s %s %s %s (%s)\n", at.Local().Format("2006-01-02T15:04:05.000000000Z07:00"), escape.Line(e.GetType()), escape.Line(e.GetAction()), e.GetId(), attributesOf(e))
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
