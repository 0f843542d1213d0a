package publish

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// portOwner is the owner of a port without socket, and whether the failure is logged.
type portOwner struct {
	owner, name string
	logged      bool
}

// loadPublished registers a publication that was stored by an earlier process.
func (p *Publisher) loadPublished(known *publication.Publication) {
	p.addToAllocator(known)
	for _, b := range known.Bindings {
		if b.IsRange() || b.IsAddress() || b.Direct() {
			continue
		}
		p.unheld[holdKey{b.Protocol, b.HostPort()}] = portOwner{owner: known.Owner, name: nameOf(known)}
	}
}

// RebindPorts binds the published ports that have no socket.
// A port that another process uses stays published, because connections never reach that process.
// Each call tries again.
func (p *Publisher) RebindPorts(context.Context) error {
	if p.Relay != nil {
		for _, known := range p.store.Publications() {
			p.Relay(known.Owner, known.AnyFamily())
		}
	}
	return p.hold()
}

func (p *Publisher) hold() error {
	for key, of := range p.unheld {
		port, err := p.ports.Bind(key.proto, key.at)
		if err == nil {
			p.held[of.owner] = append(p.held[of.owner], held{key, port})
			delete(p.unheld, key)
			continue
		}
		if of.logged {
			continue
		}
		args := []any{"port", key.at.String() + "/" + string(key.proto), "container", of.name, "error", err}
		if who, ok := p.ports.Process(key.proto, key.at); ok {
			args = append(args, "held_by", who)
		}
		p.log.Warn("cannot bind published port", args...)
		of.logged = true
		p.unheld[key] = of
	}

	return nil
}

// closePorts closes the port sockets of an owner.
func (p *Publisher) closePorts(gone *publication.Publication) error {
	var errs []error
	for _, h := range p.held[gone.Owner] {
		errs = append(errs, h.port.Close())
	}
	delete(p.held, gone.Owner)
	p.relay(gone.Owner, nil)
	p.removeFromAllocator(gone)
	for _, b := range gone.Bindings {
		delete(p.unheld, holdKey{b.Protocol, b.HostPort()})
	}
	return errors.Join(errs...)
}
