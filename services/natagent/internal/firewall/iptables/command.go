package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

const (
	lockSeconds = "5"              // how long to wait for others that run iptables
	patience    = 30 * time.Second // for a command that hangs
	errLocked   = 4                // iptables' exit status if somebody else holds the lock, among other things
)

// family is the commands for IPv4 or IPv6.
type family struct {
	ns      hostns.NS
	v6      bool
	command string // iptables, ip6tables-legacy …
	fully   bool   // MASQUERADE knows --random-fully
	accept  firewall.Mark
}

func newFamily(ns hostns.NS, f Features, v6 bool) family {
	fam := family{ns: ns, command: f.command, v6: v6, fully: f.randomFully, accept: f.Accept}
	if v6 {
		fam.command = "ip6" + strings.TrimPrefix(f.command, "ip")
	}
	return fam
}

// masquerade takes a random source port: two connections that start at the same moment would else choose the same and one
// of them would stall.
func (f family) masquerade() string {
	if f.fully {
		return " -j MASQUERADE --random-fully"
	}
	return " -j MASQUERADE"
}

// tool is a command of the family's: iptables-restore of iptables, ip6tables-legacy-save of ip6tables-legacy.
func (f family) tool(verb string) string { return f.command + "-" + verb }

// restore changes what the text names and keeps all else. A table is changed whole or not at all. It is not interrupted:
// with a change half done nobody would be helped.
func (f family) restore(ctx context.Context, text string, more ...string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_, err := f.run(ctx, text, f.tool("restore"), append([]string{"--noflush", "-w", lockSeconds}, more...)...)
	return err
}

// run runs a command in the host's namespace and answers what it prints.
func (f family) run(ctx context.Context, input, name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	cmd.WaitDelay = time.Second
	err := f.ns.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err == nil {
		return out.String(), nil
	}
	return "", explain(name, err, strings.TrimSpace(errs.String()))
}

// explain makes a command's failure a fault.
func explain(name string, err error, said string) error {
	exit, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fault.New(fault.Unavailable, name, "is not installed", fault.WithCause(err),
			fault.WithHint("install the package iptables"))
	case failed && exit.ExitCode() == errLocked && strings.Contains(said, "lock"):
		return fault.New(fault.Busy, name, fmt.Sprintf("another program has held the xtables lock for %s seconds", lockSeconds),
			fault.WithHint("find it with: fuser -v /run/xtables.lock"))
	case failed && strings.Contains(said, "Permission denied"):
		return fault.New(fault.Denied, name, "may not change rules: "+said,
			fault.WithHint("natagent needs CAP_NET_ADMIN and CAP_NET_RAW"))
	case failed && said != "":
		return fault.New(fault.Internal, name, "refuses a change: "+said, fault.WithCause(err))
	}
	return fault.New(fault.Internal, name, "failed", fault.WithCause(err))
}
