package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// poolExhausted is the fault of an address that a network did not have, as long as nobody has tried to make the network larger.
type poolExhausted struct {
	network.PoolShortage
	fault *fault.Fault
}

func (s *poolExhausted) Error() string { return s.fault.Error() }
func (s *poolExhausted) Unwrap() error { return s.fault }

// becauseOf adds why the network cannot be made larger.
func (s *poolExhausted) becauseOf(err error) error {
	why, ok := errors.AsType[*fault.Fault](err)
	if !ok || why.Kind != fault.Exhausted {
		return errors.Join(s.fault, err) // it could be, but for something else
	}
	told := *s.fault
	told.Message += ", and it cannot grow: " + why.Message
	if why.Hint != "" {
		told.Hint = why.Hint
	}
	return &told
}

// retryAfterGrow does something again each time that it finds no address on a network and that network grows. No owner may be locked: whoever
// is on the network follows.
func (m *Manager) retryAfterGrow(ctx context.Context, f func() error) error {
	for {
		err := f()
		short, ok := errors.AsType[*poolExhausted](err)
		if !ok || m.Grow == nil {
			return err
		}
		if why := m.Grow(ctx, short.PoolShortage); why != nil { // which ends the loop, as a subnet grows a few times only
			return short.becauseOf(why)
		}
	}
}

// exhausted is the fault of a pool without a free address.
func exhausted(n network.Network, p network.Pool) error {
	family := "IPv4"
	if p.Subnet.Addr().Is6() {
		family = "IPv6"
	}
	from := p.Subnet
	if p.Range.IsValid() {
		from = p.Range
	}
	hint := "remove containers, or make its subnet larger: fairlead network edit --subnet"
	if n.Predefined {
		hint = "remove containers, or configure a larger bip or fixed-cidr"
	}
	return &poolExhausted{network.PoolShortage{NetworkID: n.ID, Subnet: p.Subnet}, fault.New(fault.Exhausted, n.Subject(),
		fmt.Sprintf("no available %s addresses on this network's address pools: %s: all %d of %s are taken", family, n.String(), n.Addresses(p).Size(), from),
		fault.WithHint("%s", hint))}
}
