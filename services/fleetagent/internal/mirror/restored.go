package mirror

import (
	"time"

	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
)

// holdTime is the time for which records that a restored store lacks stay in the view: managers add
// them to the store again, and no host loses its addresses meanwhile.
const holdTime = 30 * time.Second

// hold notes the known records about hosts, networks and blocks that are not in a list, and returns
// them. The lock must be held.
func (m *Mirror) hold(all []etcd.Value) []etcd.Value {
	present := make(map[string]bool, len(all))
	for _, v := range all {
		present[v.Key] = true
	}
	var missing []etcd.Value
	for key, v := range m.raw {
		parts := m.cfg.Keys.Split(key)
		if present[key] || len(parts) < 2 {
			continue
		}
		switch parts[0] {
		case "h", "name", "n", "nn", "b":
			m.held[key] = true
			missing = append(missing, v)
		}
	}
	return missing
}

// drop removes the records that were not added again.
func (m *Mirror) drop() {
	m.mu.Lock()
	var changes []etcd.Change
	for key := range m.held {
		changes = append(changes, etcd.Change{Value: etcd.Value{Key: key, Revision: m.at.Revision}, Deleted: true})
	}
	d := m.apply(changes, m.at)
	m.mu.Unlock()
	m.report(d)
}
