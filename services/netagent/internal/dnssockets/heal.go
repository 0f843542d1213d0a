package dnssockets

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/dnssockets/redirect"
)

// Heal restores the redirect rules of an owner's resolver and reports whether they were missing. It
// does nothing for an owner without sockets here.
func (k *Keeper) Heal(owner string) (healed bool, err error) {
	path, err := k.namespace(owner)
	if err != nil {
		return false, nil // released meanwhile
	}

	defer k.owners.Lock(owner)()
	p := k.pairOf(owner)
	if p == nil {
		return false, nil
	}

	err = inNamespace(path, func(ns *os.File) error {
		there, err := redirect.Present(int(ns.Fd()))
		if err != nil || there {
			return err
		}

		udp, err := portOf(p.udp)
		if err != nil {
			return err
		}

		tcp, err := portOf(p.tcp)
		if err != nil {
			return err
		}

		healed = true
		return redirect.Apply(int(ns.Fd()), resolver(), udp, tcp)
	})
	return healed && err == nil, fault.Wrap(err, fault.Internal, subject(owner),
		"cannot restore the rules of its resolver")
}

// portOf returns the port of a bound socket.
func portOf(fd int) (uint16, error) {
	name, err := unix.Getsockname(fd)
	if at, ok := name.(*unix.SockaddrInet4); ok && err == nil {
		return uint16(at.Port), nil
	}
	return 0, fmt.Errorf("port of the resolver's socket: %w", err)
}
