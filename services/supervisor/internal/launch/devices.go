package launch

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/cdi"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/device"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
)

// checkDevices checks that the requested devices exist, before the first step.
func checkDevices(cfg *container.Config) error {
	for _, d := range cfg.Security.Devices {
		if _, err := device.Find(container.Subject(cfg.Name), d.HostPath, d.ContainerPath); err != nil {
			return err
		}
	}
	return nil
}

// findEdits returns the changes that the requested devices of CDI make to the specification.
func findEdits(dirs []string, cfg *container.Config) ([]cdi.Edits, error) {
	requests := cfg.Security.DeviceRequests
	if len(requests) == 0 {
		return nil, nil
	}
	return cdi.Load(dirs).Resolve(container.Subject(cfg.Name), requests)
}

// applyEdits applies changes to a specification. The subject names the container.
func applyEdits(subject string, edits []cdi.Edits, s *specs.Spec) error {
	for _, e := range edits {
		if err := e.Apply(s); err != nil {
			return fault.New(fault.Invalid, subject, "CDI device injection failed",
				fault.WithField("device"), fault.WithCause(err))
		}
	}
	return nil
}

// deviceNodes returns the device nodes that a container gets: those requested, and all of the host
// if it is privileged. A requested path replaces that of the host.
func deviceNodes(cfg *container.Config) ([]spec.DeviceNode, error) {
	var out []spec.DeviceNode
	seen := map[string]bool{}
	add := func(nodes []device.Node, access string) {
		for _, n := range nodes {
			if !seen[n.Path] {
				seen[n.Path] = true
				out = append(out, spec.DeviceNode{Path: n.Path, Type: n.Type, Major: n.Major, Minor: n.Minor,
					Mode: n.Mode, UID: n.UID, GID: n.GID, Access: access})
			}
		}
	}

	for _, d := range cfg.Security.Devices {
		nodes, err := device.Find(container.Subject(cfg.Name), d.HostPath, d.ContainerPath)
		if err != nil {
			return nil, err
		}
		add(nodes, d.Permissions)
	}
	if cfg.Security.Privileged {
		add(device.All(), "rwm")
	}
	return out, nil
}
