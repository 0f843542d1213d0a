package bandwidth_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/bandwidth"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]bandwidth.Limit{
		"in=10mbit,out=2mbit": {In: 10_000_000, Out: 2_000_000},
		"out=1.5Gbit":         {Out: 1_500_000_000},
		"in=64kbit":           {In: 64_000},
		"16001bit":            {In: 16_001, Out: 16_001},
		"none":                {None: true},
	} {
		got, err := bandwidth.Parse(text)
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
		again, err := bandwidth.Parse(got.String())
		if got != (bandwidth.Limit{}) && (err != nil || again != got) {
			t.Errorf("%s: %q is read as %v, %v", text, got, again, err)
		}
	}
}

func TestBadRates(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "no unit",
		"10":                  "no unit",
		"10mbps":              "no unit",
		"in=1kbit":            "not between",
		"in=NaNmbit":          "not between",
		"in=-1mbit":           "not between",
		"in=1001gbit":         "not between",
		"up=1mbit":            `"up" is not in or out`,
		"=1mbit":              `"" is not in or out`,
		"in=1mbit,in=2mbit":   "twice",
		"1mbit,out=2mbit":     "twice",
		"in=1,out=2mbit,up=3": `no unit, write bit, kbit, mbit or gbit; "up" is not in or out`,
	} {
		if _, err := bandwidth.Parse(text); err == nil ||
			!strings.Contains(strings.ReplaceAll(err.Error(), "\n", "; "), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if (bandwidth.Limit{In: 1}).Validate() == nil || (bandwidth.Limit{}).Validate() != nil {
		t.Error("Validate accepts 1 bit/s, or not the zero limit")
	}
}

// TestOr keeps "none", which is a value, and replaces what was not given.
func TestOr(t *testing.T) {
	given, none, network := bandwidth.Limit{In: 1e6}, bandwidth.Limit{None: true}, bandwidth.Limit{Out: 2e6}
	for _, c := range []struct{ own, want bandwidth.Limit }{{given, given}, {none, none}, {bandwidth.Limit{},
		network}} {
		if got := c.own.Or(network); got != c.want || got.IsLimited() == got.None {
			t.Errorf("%v: got %v, want %v", c.own, got, c.want)
		}
	}
	if (bandwidth.Limit{In: 1e6, None: true}).Validate() == nil || none.Validate() != nil {
		t.Error("Validate accepts a limit together with none, or rejects none")
	}
}
