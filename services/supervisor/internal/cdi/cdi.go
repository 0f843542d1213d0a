// Package cdi reads specifications of CDI, the Container Device Interface, from the directories of the
// host, finds the devices that a container requests, and adds them to its OCI specification. Package
// launch calls it. Requests are defined by package devicerequest; package device finds device nodes.
//
// https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md
package cdi

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/services/supervisor/internal/devicerequest"
)

// Spec is the content of a specification file.
type Spec struct {
	Version string   `json:"cdiVersion"`
	Kind    string   `json:"kind"` // VENDOR/CLASS
	Devices []Device `json:"devices"`
	Edits   Edits    `json:"containerEdits"` // for each container with one of the devices
}

// Device is a device of a specification.
type Device struct {
	Name  string `json:"name"`
	Edits Edits  `json:"containerEdits"`
}

// Edits are the changes to the OCI specification of a container.
type Edits struct {
	Env        []string          `json:"env"`
	Nodes      []Node            `json:"deviceNodes"`
	Mounts     []Mount           `json:"mounts"`
	Hooks      []Hook            `json:"hooks"`
	Groups     []uint32          `json:"additionalGids"`
	IntelRdt   json.RawMessage   `json:"intelRdt"`   // not supported
	NetDevices []json.RawMessage `json:"netDevices"` // not supported
}

// Node is a device node. Type, numbers and mode are those of the host unless they are set.
type Node struct {
	Path        string  `json:"path"`
	HostPath    string  `json:"hostPath"` // empty means Path
	Type        string  `json:"type"`     // "b", "c", "u", "p" or empty
	Major       int64   `json:"major"`
	Minor       int64   `json:"minor"`
	FileMode    *uint32 `json:"fileMode"`
	Permissions string  `json:"permissions"` // empty means rwm
	UID         *uint32 `json:"uid"`
	GID         *uint32 `json:"gid"`
}

// Mount is a mount of a path of the host.
type Mount struct {
	HostPath      string   `json:"hostPath"`
	ContainerPath string   `json:"containerPath"`
	Options       []string `json:"options"`
	Type          string   `json:"type"`
}

// Hook is a program that the OCI runtime runs.
type Hook struct {
	Name    string   `json:"hookName"`
	Path    string   `json:"path"`
	Args    []string `json:"args"`
	Env     []string `json:"env"`
	Timeout *int     `json:"timeout"` // seconds
}

// Parse parses a specification, JSON or YAML, and checks what containers rely on. Unknown fields are
// allowed: later versions add some.
func Parse(text []byte) (*Spec, error) {
	var s Spec
	if err := yaml.Unmarshal(text, &s); err != nil {
		return nil, err
	}

	if s.Version == "" {
		return nil, errors.New("cdiVersion is missing")
	}
	if err := devicerequest.CheckKind(s.Kind); err != nil {
		return nil, err
	}
	if err := s.Edits.check(); err != nil {
		return nil, err
	}

	seen := map[string]bool{}
	for _, d := range s.Devices {
		if err := devicerequest.CheckName(d.Name); err != nil {
			return nil, err
		}
		if seen[d.Name] {
			return nil, fmt.Errorf("device %s is defined twice", d.Name)
		}
		seen[d.Name] = true
		if err := d.Edits.check(); err != nil {
			return nil, fmt.Errorf("device %s: %w", d.Name, err)
		}
	}
	return &s, nil
}

func (e *Edits) check() error {
	switch {
	case len(e.IntelRdt) > 0 && string(e.IntelRdt) != "null":
		return errors.New("intelRdt is not supported")
	case len(e.NetDevices) > 0:
		return errors.New("netDevices are not supported")
	}

	for _, n := range e.Nodes {
		if !isDeviceType(n.Type) {
			return fmt.Errorf("device node %s: type %q is not b, c, u or p", n.Path, n.Type)
		}
		if err := absolute("device node", orPath(n.HostPath, n.Path)); err != nil {
			return err
		}
		if !strings.HasPrefix(path.Clean(n.Path), "/dev/") { // a runtime follows the links of an image elsewhere
			return fmt.Errorf("device node %s is not below /dev", n.Path)
		}
	}
	for _, m := range e.Mounts {
		if err := absolute("mount", m.ContainerPath); err != nil {
			return err
		}
	}
	for _, h := range e.Hooks {
		if err := absolute("hook", h.Path); err != nil {
			return err
		}
		if _, ok := hookNames()[h.Name]; !ok {
			return fmt.Errorf("hook name %q is unknown", h.Name)
		}
	}
	return nil
}
