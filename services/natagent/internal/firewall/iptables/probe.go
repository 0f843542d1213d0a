package iptables

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Flavors of iptables.
const (
	NFT    = "nft"    // iptables rules in nf_tables
	Legacy = "legacy" // iptables rules in ip_tables
)

// Features is the result of Probe.
type Features struct {
	Flavour     string        // NFT or Legacy
	IPv6        bool          // the host supports IPv6
	Accept      firewall.Mark // packets with this mark are accepted
	command     string
	randomFully bool
}

// Probe detects whether iptables supports all rules that the backend needs. Without a flavor it
// uses the administrator's choice, and another flavor if that fails. It creates no rule or chain.
func Probe(ctx context.Context, ns hostns.NS, flavour string) (Features, error) {
	commands := []string{"iptables", "iptables-" + Legacy, "iptables-" + NFT}
	if flavour != "" {
		commands = []string{"iptables-" + flavour}
	}

	var errs []error
	for _, command := range commands {
		f, err := probe(ctx, ns, command)
		if err == nil {
			return f, nil
		}
		errs = append(errs, err)
	}

	return Features{}, errs[0] // of the administrator's choice
}

func probe(ctx context.Context, ns hostns.NS, command string) (Features, error) {
	ipt, err := iptables.New(iptables.Path(command))
	if err != nil {
		return Features{}, fault.New(fault.Unavailable, command, "cannot be run", fault.WithCause(err),
			fault.WithHint("install the package iptables"))
	}

	f := Features{command: command, Flavour: Legacy, randomFully: ipt.HasRandomFully()}
	version, err := family{ns: ns}.run(ctx, "", command, "--version")
	if err != nil {
		return f, err
	}
	if strings.Contains(version, "nf_tables") {
		f.Flavour = NFT
	}

	err = ns.Do(func() error {
		_, err := os.Stat("/proc/thread-self/net/if_inet6")
		f.IPv6 = err == nil
		return nil
	})

	for _, v6 := range []bool{false, true} {
		if v6 && !f.IPv6 {
			continue
		}
		err = errors.Join(err, try(ctx, newFamily(ns, f, v6)))
	}

	return f, err
}

// try checks that the tables exist and that the kernel supports the matches.
func try(ctx context.Context, f family) error {
	for _, t := range skeleton(f, scope{}) {
		if len(t.chains) == 0 {
			continue
		}
		if _, err := f.run(ctx, "", f.command, "-w", lockSeconds, "-t", t.name, "-S"); err != nil {
			return fault.Wrap(err, fault.Unavailable, "kernel", "does not have the iptables table "+t.name)
		}
	}
	text := "*nat\n:" + prefix + "PROBE - [0:0]\n-A " + prefix +
		"PROBE -m addrtype --dst-type LOCAL -m conntrack --ctstate DNAT -m comment --comment probe -j RETURN\nCOMMIT\n"
	return f.restore(ctx, text, "--test")
}
