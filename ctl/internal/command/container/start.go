package container

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type startOptions struct {
	foreground
	attach, interactive bool
}

func newStart(c *cli.CLI) *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use:   "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Start one or more containers",
		Args:  cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !o.attach && !o.interactive {
				return startAll(cmd.Context(), c, args)
			}
			if len(args) > 1 {
				return errors.New("you cannot start and attach multiple containers at once")
			}
			return cli.WithRunExitCode(o.run(cmd.Context(), c, args[0]), cli.ExitFailure)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.attach, "attach", "a", false, "Attach output and forward signals")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "Attach standard input")
	o.addDetachKeysFlag(f)
	o.addSigProxyFlag(f)
	return cmd
}

// startAll starts containers concurrently, but one that joins a namespace of another after that one.
func startAll(ctx context.Context, c *cli.CLI, names []string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	if len(names) == 1 {
		return c.Each(ctx, names, func(ctx context.Context, name string) (string, error) {
			return start(ctx, cl,
				name)
		})
	}

	order, after := startOrder(names, func(name string) (string, []string) {
		ctr, err := get(ctx, cl, name)
		if err != nil {
			return "", nil // the start reports it
		}
		return ctr.GetId(), joined(ctr.GetConfig())
	})
	started := map[string]chan struct{}{}
	for _, name := range order {
		started[name] = make(chan struct{})
	}
	return c.Each(ctx, order, func(ctx context.Context, name string) (string, error) {
		defer close(started[name])
		for _, earlier := range after[name] {
			<-started[earlier]
		}
		return start(ctx, cl, name)
	})
}

// joined returns the containers whose namespaces a container joins.
func joined(cfg *containerv1.ContainerConfig) (ids []string) {
	for _, mode := range []string{cfg.GetNetwork().GetMode(), cfg.GetNamespaces().GetPid(),
		cfg.GetNamespaces().GetIpc()} {
		if id, ok := strings.CutPrefix(mode, "container:"); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// startOrder returns the distinct names, each after those whose namespaces it joins, and for each name the
// latter. look returns the ID of a container and the IDs of those that it joins.
func startOrder(names []string, look func(name string) (id string, joins []string)) (order []string,
	after map[string][]string) {
	byID, joins := map[string]string{}, map[string][]string{}
	var distinct []string
	for _, name := range names {
		if _, seen := joins[name]; seen {
			continue
		}
		id, ids := look(name)
		byID[id], joins[name] = name, ids
		distinct = append(distinct, name)
	}

	after = map[string][]string{}
	placed := map[string]bool{}
	for len(order) < len(distinct) {
		n := len(order)
		for _, name := range distinct {
			if !placed[name] && !slices.ContainsFunc(joins[name], func(id string) bool {
				owner, here := byID[id]
				return here && !placed[owner]
			}) {
				placed[name] = true
				order = append(order, name)
			}
		}
		if len(order) == n { // they join each other: the agent says so
			for _, name := range distinct {
				if !placed[name] {
					placed[name] = true
					order = append(order, name)
				}
			}
		}
	}

	for i, name := range order {
		for _, id := range joins[name] {
			if owner, here := byID[id]; here && slices.Contains(order[:i], owner) {
				after[name] = append(after[name], owner)
			}
		}
	}
	return order, after
}

func start(ctx context.Context, cl *client.Client, reference string) (string, error) {
	res, err := cl.Containers.StartContainer(ctx, &containerv1.StartContainerRequest{Reference: reference})
	if err == nil && len(res.GetWarnings()) > 0 {
		err = cli.WarningsError(res.GetWarnings())
	}
	return reference, err
}

func (o *startOptions) run(ctx context.Context, c *cli.CLI, reference string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	target, err := get(ctx, cl, reference)
	if err != nil {
		return err
	}
	o.tty, o.stdin = target.GetConfig().GetTty(), o.interactive && target.GetConfig().GetOpenStdin()
	return o.attachTo(ctx, c, cl, &containerv1.AttachOptions{Reference: target.GetId(), Start: true}, reference)
}

// attachTo attaches the user's streams to a container. name is the user's reference to it.
func (f *foreground) attachTo(ctx context.Context, c *cli.CLI, cl *client.Client, opts *containerv1.AttachOptions,
	name string) error {
	if err := f.check(c); err != nil {
		return err
	}

	opts.Size = f.size(c)
	if opts.Size != nil && f.redraw { // the real size is sent when the connection is established
		opts.Size.Rows++
		opts.Size.Columns++
	}

	s, err := cl.Attach(ctx, opts)
	if err != nil {
		return cli.Lost(err, "%s", backTo(name))
	}

	c.Warn(s.Warnings...)
	return f.attachStreams(c, s, signalForwarder(ctx, cl, opts.GetReference()), backTo(name))
}
