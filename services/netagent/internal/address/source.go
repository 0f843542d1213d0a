package address

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// poolExhausted is the fault of an exhausted pool that may still grow.
type poolExhausted struct {
	network.PoolShortage
	fault *fault.Fault
}

func (s *poolExhausted) Error() string { return s.fault.Error() }
func (s *poolExhausted) Unwrap() error { return s.fault }

// becauseOf adds the reason why the network cannot grow.
func (s *poolExhausted) becauseOf(err error) error {
	why, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return errors.Join(s.fault, err)
	}
	if why.Kind != fault.Exhausted { // growth failed for another reason, as an outage: more may be free
		return fault.New(why.Kind, s.fault.Subject, s.fault.Message+", and it cannot grow", fault.WithCause(err))
	}
	out := *s.fault
	out.Message += ", and it cannot grow: " + why.Message
	if why.Hint != "" {
		out.Hint = why.Hint
	}
	return &out
}

// Source provides more addresses to a network with an exhausted pool. An Exhausted fault says why it
// cannot.
type Source interface {
	More(context.Context, network.PoolShortage) error
}

// Retry calls f again whenever it found a pool exhausted and the source has provided more addresses.
// A nil source provides none. No owner may be locked, since growth updates all containers on the
// network.
func Retry(ctx context.Context, source Source, f func() error) error {
	for {
		err := f()
		short, ok := errors.AsType[*poolExhausted](err)
		if !ok || source == nil {
			return err
		}
		if why := source.More(ctx, short.PoolShortage); why != nil { // ends the loop: growth is limited
			return short.becauseOf(why)
		}
	}
}

// exhausted returns the fault of a pool without a free address.
func exhausted(n network.Network, p network.Pool) error {
	family := "IPv4"
	if p.Subnet.Addr().Is6() {
		family = "IPv6"
	}

	from := p.Subnet
	if p.Range.IsValid() {
		from = p.Range
	}

	if n.IsGlobal() {
		return &poolExhausted{network.PoolShortage{NetworkID: n.ID, Subnet: p.Subnet}, fault.New(fault.Exhausted,
			n.Subject(), fmt.Sprintf("no available %s addresses in the blocks of this host: all %d are taken", family,
				n.Addresses(p).Size()))}
	}

	hint := "remove containers, or make its subnet larger: fairlead network update --subnet"
	if n.IsPredefined() {
		hint = "remove containers, or configure a larger bip or fixed-cidr"
	}

	return &poolExhausted{network.PoolShortage{NetworkID: n.ID, Subnet: p.Subnet}, fault.New(fault.Exhausted,
		n.Subject(),
		fmt.Sprintf("no available %s addresses on this network's address pools: %s: all %d of %s are taken",
			family, n.String(), n.Addresses(p).Size(), from),
		fault.WithHint("%s", hint))}
}
