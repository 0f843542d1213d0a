package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/fairlead/fairlead/agent/initproc"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Recovered is what Recover found and cleared.
type Recovered struct {
	Restored  int               // sandboxes that are remembered and there
	Missing   []network.Sandbox // remembered, but without a namespace: after a reboot, or a crash while they were made
	StalePins []string          // pins without a record
	Left      []Unrecorded      // pins without a record in which a container runs
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
	processes := sync.OnceValues(initproc.All)
	for _, sb := range m.store.Sandboxes() {
		if namespaceExists(sb) || m.repin(sb, processes) {
			m.markAllocated(sb)
			found.Restored++
			continue
		}
		errs = append(errs, m.reserveFixed(sb, false), m.holdLeases(sb), m.detachAll(sb)) // who has its owner also knows whether that goes on to be
		gone, found.Missing = append(gone, sb.Owner), append(found.Missing, sb)
	}
	errs = append(errs, m.store.DeleteSandboxes(gone...))
	m.holdReserved()
	var err error
	found.StalePins, found.Left, err = m.clearStrays(processes)
	if err := errors.Join(append(errs, err)...); err != nil {
		return found, err
	}
	return found, nil
}

// repin pins the namespace of a sandbox again whose container runs, and whose pin was lost.
func (m *Manager) repin(sb network.Sandbox, processes func() (map[string]initproc.Process, error)) bool {
	all, err := processes()
	p, runs := all[sb.Owner]
	if err == nil && runs {
		err = kernel.PinProcess(p.PID, sb.NetnsPath)
	}
	if err != nil {
		m.Log.Error("namespace of a running container cannot be pinned again", "owner", sb.Owner, "pid", p.PID, "error", err)
		return runs // it is not cut off for that
	}
	if runs {
		m.Log.Warn("pin of a running container was lost, pinned again", "owner", sb.Owner, "pid", p.PID)
	}
	return runs
}

// clearStrays removes pins that no sandbox has, except those of containers that run: their records were lost, and what they have is left.
func (m *Manager) clearStrays(processes func() (map[string]initproc.Process, error)) (strays []string, left []Unrecorded, err error) {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, nil, fault.Wrap(err, fault.Unavailable, "folder "+m.dir, "cannot be read")
	}
	var errs []error
	for _, entry := range entries {
		path := filepath.Join(m.dir, entry.Name())
		if _, ours := m.store.SandboxAt(path); ours {
			continue
		}
		owner, err := m.runsIn(path, processes)
		if err != nil {
			m.Log.Error("namespace without a record cannot be examined, left alone", "path", path, "error", err)
			continue
		}
		if owner != "" && kernel.Pinned(path) {
			left = append(left, Unrecorded{owner, path})
			continue
		}
		strays = append(strays, path)
		errs = append(errs, fault.Wrap(kernel.Unpin(path), fault.Internal, "network namespace "+path, "cannot be removed"))
	}
	return strays, left, errors.Join(errs...)
}

// runsIn returns the container that runs in a namespace without a record; empty if none does.
func (m *Manager) runsIn(path string, processes func() (map[string]initproc.Process, error)) (owner string, err error) {
	all, err := processes()
	for owner := range all {
		if m.pinOf(owner) == path {
			return owner, nil
		}
	}
	return "", err
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

// AcceptRequests lets sandboxes be made and released from now on.
func (m *Manager) AcceptRequests() { m.accepting.Store(true) }
