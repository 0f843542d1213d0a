// Package testnft lists nftables tables for golden files. Only tests use it.
package testnft

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/agent/test/testns"
)

// Table returns a table as nft lists it, without what differs from run to run: the values of counters, the order of
// elements, which have a line each, and the owner of the table.
func Table(n *testns.NS, family, name string) string {
	return withoutOwner(sortElements(n.Run("nft", "-s", "list", "table", family, name))) + "\n"
}

// sortElements sorts the elements of all sets. The kernel lists those of hash sets in any order.
func sortElements(rest string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(rest, "elements = {")
		out.WriteString(before)
		if !found {
			return out.String()
		}

		elements, after, _ := strings.Cut(after, "}")
		all := strings.Split(elements, ",")
		for i := range all {
			all[i] = "\n\t\t\t" + strings.TrimSpace(all[i])
		}
		slices.Sort(all)
		out.WriteString("elements = {" + strings.Join(all, ",") + "\n\t\t}")
		rest = after
	}
}

// withoutOwner removes what nft lists of an owned table only: a flag, and a comment on the first line.
func withoutOwner(text string) string {
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(text), "\n"), func(l string) bool {
		return strings.HasPrefix(strings.TrimSpace(l), "flags owner")
	})
	lines[0], _, _ = strings.Cut(lines[0], " # progname")
	if len(lines) > 1 && lines[1] == "" { // nft ends the flags with a blank line
		lines = slices.Delete(lines, 1, 2)
	}
	return strings.Join(lines, "\n")
}

// Rules returns the chains of a listing.
func Rules(listing string) string {
	i := strings.Index(listing, "\tchain ")
	if i < 0 {
		return ""
	}
	return listing[i:]
}
