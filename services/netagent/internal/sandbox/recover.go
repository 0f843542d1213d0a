package sandbox

import (
	"errors"
	"os"
	"sync"

	"github.com/fairlead/fairlead/agent/initproc"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

// Recovered is the result of Recover.
type Recovered struct {
	Restored  int                // sandboxes with a record and a namespace
	Missing   []endpoint.Sandbox // records without a namespace: after a reboot, or a crash during creation
	StalePins []string           // pins without a record
	Left      []Unrecorded       // pins without a record in which a container runs
}

// Recover compares the stored sandboxes with the pinned namespaces. It removes records without a
// pin and pins without a record, and marks the addresses of the others as allocated. Call it once,
// before any other method.
func (m *Manager) Recover() (Recovered, error) {
	var found Recovered
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return found, fault.Wrap(err, fault.Unavailable, "directory "+m.dir, "cannot be created")
	}

	var gone []string
	var errs []error
	processes := sync.OnceValues(initproc.All)
	for _, sb := range m.store.Sandboxes() {
		if m.attach.Exists(sb) || m.adoptAgain(sb) || m.repin(sb, processes) {
			m.addresses.Claim(sb)
			found.Restored++
			continue
		}
		// The addresses are kept: the supervisor decides whether the container still exists. The client
		// of an external namespace requests its addresses again.
		if sb.External == "" {
			errs = append(errs, m.addresses.ReserveStatic(sb, false), m.leases.Hold(sb))
		}
		errs = append(errs, m.detachAll(sb))
		gone, found.Missing = append(gone, sb.Owner), append(found.Missing, sb)
	}

	errs = append(errs, m.store.DeleteSandboxes(gone...))
	m.addresses.Restore()
	var err error
	found.StalePins, found.Left, err = m.clearStale(processes)
	if err := errors.Join(append(errs, err)...); err != nil {
		return found, err
	}

	return found, nil
}

// repin pins the namespace of a running container again if the pin was lost.
func (m *Manager) repin(sb endpoint.Sandbox, processes func() (map[string]initproc.Process, error)) bool {
	all, err := processes()
	p, runs := all[sb.Owner]
	if err == nil && runs {
		err = m.namespaces.PinProcess(p.PID, sb.NetnsPath)
	}
	if err != nil {
		m.log.Error("cannot pin the namespace of a running container again", "owner", sb.Owner, "pid", p.PID,
			"error", err)
		return runs // the container keeps its network
	}

	if runs {
		m.log.Warn("namespace pin of a running container lost, pinned again", "owner", sb.Owner, "pid", p.PID)
	}

	return runs
}

// clearStale removes the pins without a record, except those of running containers. It returns
// both.
func (m *Manager) clearStale(
	processes func() (map[string]initproc.Process, error),
) (stale []string, left []Unrecorded, err error) {
	paths, err := m.namespaces.List(m.dir)
	if err != nil {
		return nil, nil, fault.Wrap(err, fault.Unavailable, "directory "+m.dir, "cannot be read")
	}

	var errs []error
	for _, path := range paths {
		if _, recorded := m.store.SandboxAt(path); recorded {
			continue
		}
		owner, err := m.runsIn(path, processes)
		if err != nil {
			m.log.Error("cannot examine a namespace without a record, kept", "path", path, "error", err)
			continue
		}
		if owner != "" && m.namespaces.Exists(path) {
			left = append(left, Unrecorded{owner, path})
			continue
		}
		stale = append(stale, path)
		errs = append(errs, fault.Wrap(m.namespaces.Unpin(path), fault.Internal, "network namespace "+path,
			"cannot be removed"))
	}

	return stale, left, errors.Join(errs...)
}

// runsIn returns the container that runs in a namespace without a record. It is empty if there is
// none.
func (m *Manager) runsIn(path string, processes func() (map[string]initproc.Process, error)) (owner string, err error) {
	all, err := processes()
	for owner := range all {
		if m.pinOf(owner) == path {
			return owner, nil
		}
	}
	return "", err
}

// Unpin unpins all namespaces, in place of Recover. A namespace with a process exists until that
// exits, and the next Recover does not find it.
func (m *Manager) Unpin() error {
	paths, err := m.namespaces.List(m.dir)
	errs := []error{err}
	for _, path := range paths {
		errs = append(errs, m.namespaces.Unpin(path))
	}
	return errors.Join(errs...)
}

// AcceptRequests allows changes from now on.
func (m *Manager) AcceptRequests() { m.accepting.Store(true) }
