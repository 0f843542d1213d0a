// Package tunnelkey decides which keys the encrypted tunnels of a host have, which of them connect it
// with each other host, and when keys are replaced. It performs no I/O. Package encryption applies
// its decisions.
//
// A tunnel of WireGuard drops packets of a key that it does not expect, and packets on the way when
// a key is replaced. So keys have generations, each with a device of its own: the tunnels of the
// next generation exist next to those of the present one, and both accept packets. A host sends
// through the newest one that is connected. It withdraws its former key when it sends to all other
// hosts with the newer one, and deletes it when all others have withdrawn theirs. So at no moment a
// packet is sent that its receiver does not accept, however late a host learns of the others' keys.
package tunnelkey

import (
	"cmp"
	"encoding/base64"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// Key is a public or private key of WireGuard. It is stored in base64.
type Key [32]byte

// MarshalText implements encoding.TextMarshaler.
func (k Key) MarshalText() ([]byte, error) { return base64.StdEncoding.AppendEncode(nil, k[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Key) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil || len(b) != len(k) {
		return fault.Invalidf("tunnel", "key", "is not a key of WireGuard")
	}
	copy(k[:], b)
	return nil
}

// Own is a key of this host.
type Own struct {
	Generation uint64
	Private    Key
	Created    time.Time
	Withdrawn  bool `json:",omitempty"` // other hosts are not to send with it any more
}

// Public is a key that another host has published.
type Public struct {
	Generation uint64
	Key        Key
	Port       uint16
}

// Host is another host of the fleet.
type Host struct {
	ID     string
	Keys   []Public // one for each generation; none: it has no encrypted tunnels
	Linked bool     // packets are exchanged with it
}

// Link is the tunnel of one generation to one host.
type Link struct {
	Host       string
	Generation uint64
}

// State describes what a decision depends on.
type State struct {
	Own       []Own
	Hosts     []Host
	Connected map[Link]bool     // links with a session of WireGuard
	Sending   map[string]uint64 // the generation in use, by host
	Now       time.Time
	Lifetime  time.Duration // of a key
}

// Plan is a decision.
type Plan struct {
	Create   uint64   // generation of a key to create before the rest is applied; 0: none
	Withdraw []uint64 // generations that the host no longer publishes
	Delete   []uint64 // generations to delete with their devices; a new key can have the same slot
	Links    []Link   // the tunnels, sorted
	Send     map[string]uint64
}

// Slots is the number of generations that can exist at the same time.
const Slots = 2

// Slot returns the device of a generation.
func Slot(generation uint64) int { return int(generation % Slots) }

// Ports returns the UDP ports of the devices of a host that has published a key: that of the next key too.
func Ports(k Public) (all []uint16) {
	for slot := range uint16(Slots) {
		all = append(all, k.Port-uint16(Slot(k.Generation))+slot)
	}
	return all
}

// Next decides. The host has no key at first, and creates one of the newest generation of the fleet.
func (s State) Next() Plan {
	own := slices.SortedFunc(slices.Values(s.Own), func(a, b Own) int {
		return cmp.Compare(a.Generation, b.Generation)
	})
	p := Plan{Send: map[string]uint64{}}
	if p.Create = s.create(own); p.Create != 0 {
		own = slices.DeleteFunc(own, func(o Own) bool {
			occupied := Slot(o.Generation) == Slot(p.Create)
			if occupied {
				p.Delete = append(p.Delete, o.Generation)
			}
			return occupied
		})
	}

	for _, h := range s.Hosts {
		s.connect(h, own, &p)
	}
	if p.Create == 0 && len(own) > 1 {
		s.retire(own, &p)
	}
	slices.SortFunc(p.Links, func(a, b Link) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Host, b.Host))
	})
	return p
}

// create returns the generation of a key to create: one that another host has begun, or the next one
// when the own key is old and no host is in the middle of a change.
func (s State) create(own []Own) uint64 {
	latest, common := uint64(1), true
	for _, h := range s.Hosts {
		for _, k := range h.Keys {
			latest = max(latest, k.Generation)
		}
	}

	if len(own) == 0 || own[len(own)-1].Generation < latest {
		return latest
	}
	present := own[len(own)-1]
	for _, h := range s.Hosts {
		common = common && (len(h.Keys) == 0 || len(h.Keys) == 1 && h.Keys[0].Generation == present.Generation)
	}
	if len(own) == 1 && common && s.Now.Sub(present.Created) >= s.Lifetime {
		return present.Generation + 1
	}
	return 0
}

// connect decides about the tunnels to a host, and which of them is used: the newest one that is
// connected, or the newest one if no older one is.
func (s State) connect(h Host, own []Own, p *Plan) {
	if !h.Linked {
		return
	}
	for _, o := range slices.Backward(own) {
		if !h.has(o.Generation) {
			continue
		}
		link := Link{h.ID, o.Generation}
		p.Links = append(p.Links, link)
		used, chosen := p.Send[h.ID]
		if !chosen || !o.Withdrawn && s.Connected[link] && !s.Connected[Link{h.ID, used}] {
			p.Send[h.ID] = o.Generation
		}
	}
}

func (h Host) has(generation uint64) bool {
	return slices.ContainsFunc(h.Keys, func(k Public) bool { return k.Generation == generation })
}

// retire withdraws the former key when all hosts have the newer one and packets are sent with it, and
// deletes it when no other host sends with it any more.
func (s State) retire(own []Own, p *Plan) {
	former, newest := own[0], own[len(own)-1]
	withdraw, unused := true, true
	for _, h := range s.Hosts {
		unused = unused && !h.has(former.Generation)
		if len(h.Keys) > 0 && !h.has(newest.Generation) {
			withdraw = false
		}
		if h.Linked && len(h.Keys) > 0 &&
			(p.Send[h.ID] != newest.Generation || s.Sending[h.ID] != newest.Generation) {
			withdraw = false
		}
	}

	switch {
	case former.Withdrawn && unused:
		p.Delete = append(p.Delete, former.Generation)
		p.Links = slices.DeleteFunc(p.Links, func(l Link) bool { return l.Generation == former.Generation })
	case !former.Withdrawn && withdraw:
		p.Withdraw = append(p.Withdraw, former.Generation)
	}
}
