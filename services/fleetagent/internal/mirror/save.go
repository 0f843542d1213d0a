package mirror

import (
	"context"
	"strings"
	"time"

	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/replica"
)

// The file is saved some time after a change, and never for more than a twentieth of the time.
const (
	saveDelay = 300 * time.Millisecond
	saveShare = 20
)

// Save saves the records after changes, until ctx ends, and then once more.
func (m *Mirror) Save(ctx context.Context) {
	delay := saveDelay
	for ctx.Err() == nil {
		m.mu.Lock()
		dirty, changed := m.dirty, m.changed
		m.mu.Unlock()
		if !dirty {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}

		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		start := time.Now()
		m.save()
		delay = max(saveDelay, saveShare*time.Since(start))
	}
	m.save()
}

// save writes the file if it is outdated.
func (m *Mirror) save() {
	m.mu.Lock()
	if !m.dirty || m.cfg.Path == "" || !m.synced {
		m.dirty = false
		m.mu.Unlock()
		return
	}
	all := make([]etcd.Value, 0, len(m.raw))
	for key, v := range m.raw {
		if m.needed(key) {
			all = append(all, v)
		}
	}
	at := m.at
	m.dirty = false
	m.mu.Unlock()

	if err := replica.Save(m.cfg.Path, all, at); err != nil {
		m.cfg.Log.Error("copy of the store not saved", "error", err)
		m.mu.Lock()
		m.dirty = true
		m.mu.Unlock()
	}
}

// needed reports whether this host needs a record while the store is away. The lock must be held.
func (m *Mirror) needed(key string) bool {
	parts := m.cfg.Keys.Split(key)
	if len(parts) == 0 {
		return false
	}
	switch parts[0] {
	case "h", "live", "i", "n", "nn", "b", "pool", "settings", "name":
		return true
	case "up":
		return strings.HasPrefix(key, m.cfg.Keys.Marks(m.cfg.Host))
	case "e":
		return len(parts) == 4 && (parts[1] == m.cfg.Host || m.view.Marked(parts[2]))
	}
	return false
}
