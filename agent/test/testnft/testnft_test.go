package testnft

import "testing"

func TestListingIsNormalized(t *testing.T) {
	const listing = `table inet x { # progname agent
	flags owner,persist

	set a {
		type ifname . ifname
		elements = { "b" . "c",
			     "a" . "b" }
	}

	chain c {
		drop
	}
}
`
	const want = `table inet x {
	set a {
		type ifname . ifname
		elements = {
			"a" . "b",
			"b" . "c"
		}
	}

	chain c {
		drop
	}
}`
	if got := withoutOwner(sortElements(listing)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Rules(want); got != "\tchain c {\n\t\tdrop\n\t}\n}" {
		t.Errorf("got rules %q", got)
	}
	if got := Rules("table inet x {\n}"); got != "" {
		t.Errorf("got rules %q, want none", got)
	}
}
