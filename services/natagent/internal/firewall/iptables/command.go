package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/fairlead/fairlead/agent/crashpoint"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

const (
	lockSeconds    = "5"              // maximum wait for the xtables lock
	commandTimeout = 30 * time.Second // maximum run time of a command
	errLocked      = 4                // exit status of iptables if the lock is held, and for other errors
)

// family runs the commands of IPv4 or IPv6.
type family struct {
	ns      hostns.NS
	v6      bool
	command string // such as iptables or ip6tables-legacy
	fully   bool   // MASQUERADE supports --random-fully
	accept  firewall.Mark
}

func newFamily(ns hostns.NS, f Features, v6 bool) family {
	fam := family{ns: ns, command: f.command, v6: v6, fully: f.randomFully, accept: f.Accept}
	if v6 {
		fam.command = "ip6" + strings.TrimPrefix(f.command, "ip")
	}
	return fam
}

// masquerade returns the masquerade target. It randomizes source ports, as otherwise two
// simultaneous connections could pick the same port and one would stall.
func (f family) masquerade() string {
	if f.fully {
		return " -j MASQUERADE --random-fully"
	}
	return " -j MASQUERADE"
}

// tool returns a command of the family, such as iptables-restore or ip6tables-legacy-save.
func (f family) tool(verb string) string { return f.command + "-" + verb }

// restore applies a text with --noflush. Each table is changed atomically. It ignores the
// cancellation of ctx, so that a change never stops halfway.
func (f family) restore(ctx context.Context, text string, more ...string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	if err := crashpoint.Before(crashpoint.Firewall, f.tool("restore")); err != nil {
		return fault.New(fault.Internal, f.tool("restore"), "failed", fault.WithCause(err))
	}

	_, err := f.run(ctx, text, f.tool("restore"), append([]string{"--noflush", "-w", lockSeconds}, more...)...)
	_ = crashpoint.After(crashpoint.Firewall, f.tool("restore"))
	return err
}

// run runs a command in the host's network namespace and returns its output.
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

	return "", commandFault(name, err, strings.TrimSpace(errs.String()))
}

// commandFault converts the failure of a command to a fault.
func commandFault(name string, err error, stderr string) error {
	exit, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fault.New(fault.Unavailable, name, "is not installed", fault.WithCause(err),
			fault.WithHint("install the package iptables"))
	case failed && exit.ExitCode() == errLocked && strings.Contains(stderr, "lock"):
		return fault.New(fault.Busy, name, fmt.Sprintf("another program has held the xtables lock for %s seconds",
			lockSeconds),
			fault.WithHint("find it with: fuser -v /run/xtables.lock"))
	case failed && strings.Contains(stderr, "Permission denied"):
		return fault.New(fault.Denied, name, "cannot change rules: "+stderr,
			fault.WithHint("grant natagent CAP_NET_ADMIN and CAP_NET_RAW"))
	case failed && stderr != "":
		return fault.New(fault.Internal, name, "rejected a change: "+stderr, fault.WithCause(err))
	}

	return fault.New(fault.Internal, name, "failed", fault.WithCause(err))
}
