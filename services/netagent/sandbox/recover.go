package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/netagent/kernel"
	"github.com/fairlead/fairlead/services/netagent/network"
)

// Recovered is what Recover found and cleared.
type Recovered struct {
	Kept  int               // sandboxes that are remembered and there
	Gone  []network.Sandbox // remembered, but without a namespace: after a reboot, or a crash while they were made
	Stray []string          // pins that nobody remembers
}

// Recover compares what is remembered with the namespaces that are pinned, forgets and removes what is only one of both, and
// takes the leases of the rest. It comes before anything else, and once.
func (m *Manager) Recover() (Recovered, error) {
	var found Recovered
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return found, fault.Wrap(err, fault.Unavailable, "folder "+m.dir, "cannot be made")
	}
	var gone []string
	var errs []error
	for _, sb := range m.store.Sandboxes() {
		if alive(sb) {
			m.hold(sb)
			found.Kept++
			continue
		}
		errs = append(errs, m.reserveFixed(sb, false), m.holdLeases(sb), m.unplug(sb)) // who has its owner also knows whether that goes on to be
		gone, found.Gone = append(gone, sb.Owner), append(found.Gone, sb)
	}
	errs = append(errs, m.store.DeleteSandboxes(gone...))
	m.holdReserved()
	strays, err := m.clearStrays()
	found.Stray = strays
	if err := errors.Join(append(errs, err)...); err != nil {
		return found, err
	}
	return found, nil
}

// clearStrays removes pins that no sandbox has.
func (m *Manager) clearStrays() (strays []string, err error) {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "folder "+m.dir, "cannot be read")
	}
	var errs []error
	for _, entry := range entries {
		path := filepath.Join(m.dir, entry.Name())
		if _, ours := m.store.SandboxAt(path); ours {
			continue
		}
		strays = append(strays, path)
		errs = append(errs, fault.Wrap(kernel.Unpin(path), fault.Internal, "network namespace "+path, "cannot be removed"))
	}
	return strays, errors.Join(errs...)
}

// Unpin lets go of all namespaces, in place of Recover. Those that a process is in go on until it ends, and the next Recover finds none of
// them.
func (m *Manager) Unpin() error {
	entries, err := os.ReadDir(m.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, entry := range entries {
		errs = append(errs, kernel.Unpin(filepath.Join(m.dir, entry.Name())))
	}
	return errors.Join(errs...)
}

// Open lets sandboxes be made and released from now on.
func (m *Manager) Open() { m.open.Store(true) }
