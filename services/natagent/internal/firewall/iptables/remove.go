package iptables

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Remove deletes all FAIRLEAD-* chains of both flavors except one, after a change of the backend.
// It runs no command if the host has no iptables tables. It keeps a FAIRLEAD-USER chain with rules.
func Remove(ctx context.Context, ns hostns.NS, but string) error {
	var errs []error
	for _, flavour := range []string{NFT, Legacy} {
		if flavour == but || !used(ns, flavour) {
			continue
		}
		f := Features{command: "iptables-" + flavour}
		if _, err := exec.LookPath(f.command); err != nil {
			f.command = "iptables"
		}
		for _, v6 := range []bool{false, true} {
			errs = append(errs, newFamily(ns, f, v6).remove(ctx))
		}
	}

	return errors.Join(errs...)
}

// used reports whether a flavor has any table.
func used(ns hostns.NS, flavour string) (yes bool) {
	if flavour == NFT {
		n, err := openNFTables(ns)
		if err != nil {
			return false
		}
		defer func() { _ = n.close() }()
		tables, err := n.conn.ListTables()
		return err != nil || slices.ContainsFunc(tables, func(t *nftables.Table) bool {
			return t.Family == nftables.TableFamilyIPv4 || t.Family == nftables.TableFamilyIPv6
		})
	}

	_ = ns.Do(func() error {
		for _, names := range []string{"ip_tables_names", "ip6_tables_names"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + names)
			yes = yes || err == nil && len(text) > 0
		}
		return nil
	})

	return yes
}

func (f family) remove(ctx context.Context) error {
	have, err := f.read(ctx)
	if err != nil {
		return err
	}
	if text := removal(have); text != "" {
		return f.restore(ctx, text)
	}
	return nil
}

// removal returns the restore text that deletes our chains and the jumps to them.
func removal(have contents) string {
	var all strings.Builder
	for _, table := range slices.Sorted(maps.Keys(have)) {
		var jumps, empty, gone strings.Builder
		for _, name := range slices.Sorted(maps.Keys(have[table])) {
			rules := have[table][name]
			if !strings.HasPrefix(name, prefix) {
				for _, r := range rules {
					if jumpsToUs(r) {
						jumps.WriteString("-D " + name + " " + r + "\n")
					}
				}
				continue
			}
			if name == chainUser && len(rules) > 0 {
				continue
			}
			empty.WriteString("-F " + name + "\n")
			gone.WriteString("-X " + name + "\n")
		}
		if jumps.Len()+gone.Len() > 0 {
			all.WriteString("*" + table + "\n" + jumps.String() + empty.String() + gone.String() + "COMMIT\n")
		}
	}

	return all.String()
}

// jumpsToUs reports whether a rule of a foreign chain jumps to one of our chains.
func jumpsToUs(rule string) bool { return strings.HasPrefix(target(rule), prefix) }
