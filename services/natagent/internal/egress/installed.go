package egress

import (
	"maps"
	"time"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/tables"
)

// install returns the container with what the kernel needs.
func (e *Enforcer) install(c *plan.Container) (*plan.Plan, error) {
	via, err := e.tables.BridgeMACs(c, e.store.Bridge)
	if err != nil {
		return nil, err
	}
	p := plan.New(c, via)
	return p, e.index.conflict(p)
}

// setInstalled notes the policy of a container that is in force, or nil. mu must be held.
func (e *Enforcer) setInstalled(owner string, now *plan.Plan) {
	e.index.replace(e.installed[owner], now)
	if now == nil {
		delete(e.installed, owner)
	} else {
		e.installed[owner] = now
	}
}

// installMissing installs stored policies whose network did not exist before. After a boot netagent
// creates the bridges later; containers do not run before either.
func (e *Enforcer) installMissing() {
	for _, c := range e.store.Policies() {
		if e.installed[c.Owner] != nil {
			continue
		}
		one, err := e.install(c)
		if err != nil {
			e.log.Info("egress policy waits for its network", "container", c.Name, "error", err)
			continue
		}
		e.setInstalled(c.Owner, one)
		e.checkServers(c.Owner, one)
	}
}

// openedBy returns the addresses that the interfaces of a container learned.
func openedBy(p *plan.Plan, all map[tables.Opened]map[answered.Open]time.Duration) map[answered.Open]time.Duration {
	opened := map[answered.Open]time.Duration{}
	for mac := range p.Via {
		maps.Copy(opened, all[tables.Opened{Chain: rules.ChainName(p, rules.Outgoing), MAC: mac}])
	}
	return opened
}

// left returns the addresses that are open; b can be nil.
func left(b *answered.Book) map[answered.Open]time.Duration {
	if b == nil {
		return nil
	}
	return b.Left(time.Now())
}

// hasLimits reports whether a container, which can be nil, has limits.
func hasLimits(c *plan.Plan) bool { return c != nil && c.IsLimited() }

// limited returns the containers with limits.
func (e *Enforcer) limited() (all []*plan.Container) {
	for _, c := range e.installed {
		if hasLimits(c) {
			all = append(all, c.Container)
		}
	}
	return all
}
