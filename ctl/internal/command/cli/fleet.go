package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// AnswerTimeout is the time that a command for all hosts of a fleet waits for each of them.
const AnswerTimeout = 2 * time.Second

// Fleet returns a client of a manager and the hosts of its fleet.
func (c *CLI) Fleet(ctx context.Context) (*client.Client, []*fleetv1.Host, error) {
	if c.Node != "" {
		return nil, nil, fault.New(fault.Invalid, "--node", "cannot be combined with --fleet",
			fault.WithHint("omit one of them"))
	}
	c.allNodes = true
	cl, err := c.Client()
	if err != nil {
		return nil, nil, err
	}
	res, err := cl.Fleet.ListHosts(ctx, &fleetv1.ListHostsRequest{})
	if err != nil {
		return nil, nil, err
	}
	if res.GetOutdated() != "" {
		c.Warn("the list of hosts may be outdated: " + res.GetOutdated())
	}
	return cl, res.GetHosts(), nil
}

// OnHosts calls do for each host of the fleet concurrently and returns the results in the order of the
// hosts. A warning names each host that does not answer; its result is absent.
func OnHosts[T any](ctx context.Context, c *CLI,
	do func(ctx context.Context, cl *client.Client, host string) (T, error)) ([]T, error) {
	cl, hosts, err := c.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	type outcome struct {
		value T
		err   error
	}
	outcomes := make([]chan outcome, len(hosts))
	for i, h := range hosts {
		outcomes[i] = make(chan outcome, 1)
		go func() {
			limited, cancel := context.WithTimeout(client.OnNode(ctx, h.GetId()), AnswerTimeout)
			defer cancel()
			value, err := do(limited, cl, h.GetName())
			outcomes[i] <- outcome{value, err}
		}()
	}

	var all []T
	for i, h := range hosts {
		got := <-outcomes[i]
		switch {
		case got.err == nil:
			all = append(all, got.value)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case fault.Is(got.err, fault.Denied): // also of the other hosts: this one is not a manager
			return nil, got.err
		default:
			c.Warn(unanswered(h, got.err))
		}
	}
	return all, nil
}

// unanswered describes why a host is absent from a list. It always names the host: the agent of this
// host can give up before this command does, and then names only its own service.
func unanswered(h *fleetv1.Host, err error) string {
	anonymous := fault.Is(err, fault.Unavailable) && !strings.Contains(err.Error(), h.GetName())
	if errors.Is(err, context.DeadlineExceeded) || anonymous {
		return "host " + h.GetName() + ": does not answer at " + h.GetAddress()
	}
	return oneLine(err)
}

// HostName returns the name of the host that answers in its fleet. It is empty without a fleet.
func HostName(ctx context.Context, cl *client.Client) (string, error) {
	res, err := cl.Fleet.GetFleet(ctx, &fleetv1.GetFleetRequest{})
	if fault.Is(err, fault.NotFound) {
		err = nil
	}
	return res.GetHostName(), err
}

// Containers returns the containers of this host or, with fleet, of all hosts, newest first. named also
// returns the name of this host.
func (c *CLI) Containers(ctx context.Context, req *containerv1.ListContainersRequest, fleet,
	named bool) ([]*containerv1.Container,
	map[*containerv1.Container]string, error) {
	var mu sync.Mutex
	nodes := map[*containerv1.Container]string{}
	list := func(ctx context.Context, cl *client.Client, host string) ([]*containerv1.Container, error) {
		list, err := cl.SelectContainers(ctx, proto.CloneOf(req))
		mu.Lock()
		defer mu.Unlock()
		for _, ctr := range list {
			nodes[ctr] = host
		}
		return list, err
	}

	if fleet {
		lists, err := OnHosts(ctx, c, list)
		found := slices.Concat(lists...)
		slices.SortStableFunc(found, func(a, b *containerv1.Container) int {
			return b.GetCreatedAt().AsTime().Compare(a.GetCreatedAt().AsTime())
		})
		return found, nodes, err
	}
	cl, err := c.Client()
	if err != nil {
		return nil, nil, err
	}
	name := ""
	if named {
		if name, err = HostName(ctx, cl); err != nil {
			return nil, nil, err
		}
	}
	found, err := list(ctx, cl, name)
	return found, nodes, err
}
