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

// Remove takes all our chains out of both flavours but one, for another backend that has taken over. Nothing is run on a
// host without iptables' tables. A user chain that has rules stays, as they are the user's.
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

// used tells whether a flavour has any table.
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

// removal is what to restore so that nothing of ours is left.
func removal(have contents) string {
	var all strings.Builder
	for _, table := range slices.Sorted(maps.Keys(have)) {
		var jumps, empty, gone strings.Builder
		for _, name := range slices.Sorted(maps.Keys(have[table])) {
			rules := have[table][name]
			if !strings.HasPrefix(name, prefix) {
				for _, r := range rules {
					if isOurs(r) {
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

// isOurs tells whether a rule in a chain of somebody else's leads to a chain of ours.
func isOurs(rule string) bool { return strings.HasPrefix(target(rule), prefix) }
