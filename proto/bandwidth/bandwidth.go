// Package bandwidth is the form of --bandwidth: how fast a container may receive and send. netagent
// enforces it, the supervisor stores it, the command line parses and prints it.
package bandwidth

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limit is a limit in bits per second, with Ethernet and IP headers. Zero means that none was given: the limit of
// the network applies.
type Limit struct {
	In   uint64 `json:",omitempty"` // to the container
	Out  uint64 `json:",omitempty"` // from the container
	None bool   `json:",omitempty"` // no limit, whatever applies without a value
}

// Bounds of a limit: less does not pass one full packet in a second.
const (
	Min = 16_000
	Max = 1_000_000_000_000
)

// none is the text for no limit.
const none = "none"

// units returns the factors of units. There is no "bps": in tc it means bytes, elsewhere bits.
func units() []struct {
	name string
	bits float64
} {
	return []struct {
		name string
		bits float64
	}{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {"bit", 1}}
}

// Parse parses "in=RATE,out=RATE", or one RATE for both, or "none". A RATE is a number with bit, kbit,
// mbit or gbit. It reports all errors.
func Parse(text string) (Limit, error) {
	var l Limit
	var problems []error
	if text == none {
		return Limit{None: true}, nil
	}
	for _, part := range strings.Split(text, ",") {
		key, rate, directed := strings.Cut(part, "=")
		if !directed {
			key, rate = "", part
		}
		bits, err := parseRate(rate)
		switch {
		case key != "" && key != "in" && key != "out" || directed && key == "":
			err = fmt.Errorf("%q is not in or out", key)
		case err == nil && (key != "out" && l.In != 0 || key != "in" && l.Out != 0):
			err = fmt.Errorf("%q sets a limit twice", part)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if key != "out" {
			l.In = bits
		}
		if key != "in" {
			l.Out = bits
		}
	}
	return l, errors.Join(problems...)
}

func parseRate(text string) (uint64, error) {
	lower := strings.ToLower(strings.TrimSpace(text))
	for _, u := range units() {
		digits, ok := strings.CutSuffix(lower, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(digits, 64)
		bits := math.Round(v * u.bits)
		if err != nil || !(bits >= Min && bits <= Max) {
			return 0, fmt.Errorf("rate %q is not between 16kbit and 1000gbit", text)
		}
		return uint64(bits), nil
	}
	return 0, fmt.Errorf("rate %q has no unit, write bit, kbit, mbit or gbit", text)
}

// Validate returns an error for a limit that Parse does not return.
func (l Limit) Validate() error {
	if l.None && l.IsLimited() {
		return fmt.Errorf("%s is a limit and none", Limit{In: l.In, Out: l.Out})
	}
	for _, bits := range []uint64{l.In, l.Out} {
		if bits != 0 && (bits < Min || bits > Max) {
			return fmt.Errorf("%d bit/s is not between 16kbit and 1000gbit", bits)
		}
	}
	return nil
}

// IsGiven reports whether there is a value, which can be none.
func (l Limit) IsGiven() bool { return l != Limit{} }

// IsLimited reports whether a direction is limited.
func (l Limit) IsLimited() bool { return l.In != 0 || l.Out != 0 }

// Or returns the limit, or the other one if none was given.
func (l Limit) Or(other Limit) Limit {
	if l.IsGiven() {
		return l
	}
	return other
}

// String returns the limit in the form that Parse reads. It is empty if none was given.
func (l Limit) String() string {
	if l.None {
		return none
	}
	var parts []string
	if l.In != 0 {
		parts = append(parts, "in="+rateText(l.In))
	}
	if l.Out != 0 {
		parts = append(parts, "out="+rateText(l.Out))
	}
	return strings.Join(parts, ",")
}

func rateText(bits uint64) string {
	switch {
	case bits%1e9 == 0:
		return strconv.FormatUint(bits/1e9, 10) + "gbit"
	case bits%1e6 == 0:
		return strconv.FormatUint(bits/1e6, 10) + "mbit"
	case bits%1e3 == 0:
		return strconv.FormatUint(bits/1e3, 10) + "kbit"
	}
	return strconv.FormatUint(bits, 10) + "bit"
}
