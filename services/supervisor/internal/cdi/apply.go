package cdi

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hookNames returns the functions that add a hook of each name.
func hookNames() map[string]func(h *specs.Hooks, hook specs.Hook) {
	return map[string]func(h *specs.Hooks, hook specs.Hook){
		"prestart": func(h *specs.Hooks, hook specs.Hook) {
			//lint:ignore SA1019 specifications still use it
			h.Prestart = append(h.Prestart, hook) //nolint:staticcheck // see above
		},
		"createRuntime": func(h *specs.Hooks, hook specs.Hook) { h.CreateRuntime = append(h.CreateRuntime, hook) },
		"createContainer": func(h *specs.Hooks, hook specs.Hook) {
			h.CreateContainer = append(h.CreateContainer,
				hook)
		},
		"startContainer": func(h *specs.Hooks, hook specs.Hook) { h.StartContainer = append(h.StartContainer, hook) },
		"poststart":      func(h *specs.Hooks, hook specs.Hook) { h.Poststart = append(h.Poststart, hook) },
		"poststop":       func(h *specs.Hooks, hook specs.Hook) { h.Poststop = append(h.Poststop, hook) },
	}
}

// Apply changes an OCI specification. It fails for a device node that the host does not have.
func (e *Edits) Apply(s *specs.Spec) error {
	for _, n := range e.Nodes {
		if err := n.apply(s); err != nil {
			return err
		}
	}

	s.Process.Env = withEnv(s.Process.Env, e.Env)
	for _, gid := range e.Groups {
		if gid != 0 && !slices.Contains(s.Process.User.AdditionalGids, gid) {
			s.Process.User.AdditionalGids = append(s.Process.User.AdditionalGids, gid)
		}
	}
	for _, m := range e.Mounts {
		kind, options := m.Type, m.Options
		if kind == "" {
			kind = "bind"
		}
		if kind == "bind" && !slices.Contains(options, "bind") && !slices.Contains(options, "rbind") {
			options = append([]string{"rbind"}, options...)
		}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: m.ContainerPath, Source: m.HostPath, Type: kind,
			Options: options})
	}

	if len(e.Hooks) > 0 && s.Hooks == nil {
		s.Hooks = &specs.Hooks{}
	}
	for _, h := range e.Hooks {
		hookNames()[h.Name](s.Hooks, specs.Hook{Path: h.Path, Args: h.Args, Env: h.Env, Timeout: h.Timeout})
	}
	return nil
}

// apply adds a device node and the access to it.
func (n *Node) apply(s *specs.Spec) error {
	d := specs.LinuxDevice{Path: n.Path, Type: n.Type, Major: n.Major, Minor: n.Minor, UID: n.UID, GID: n.GID}
	if n.FileMode != nil {
		mode := os.FileMode(*n.FileMode)
		d.FileMode = &mode
	}
	if n.Type == "" || n.Major == 0 && n.Type != "p" {
		if err := fromHost(&d, orPath(n.HostPath, n.Path)); err != nil {
			return err
		}
	}

	s.Linux.Devices = slices.DeleteFunc(s.Linux.Devices, func(o specs.LinuxDevice) bool { return o.Path == d.Path })
	s.Linux.Devices = append(s.Linux.Devices, d)
	if d.Type != "b" && d.Type != "c" {
		return nil
	}
	access := n.Permissions
	if access == "" {
		access = "rwm"
	}
	s.Linux.Resources.Devices = append(s.Linux.Resources.Devices,
		specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Major: &d.Major, Minor: &d.Minor, Access: access})
	return nil
}

// fromHost sets the type, the numbers and the mode of a device node from that of the host.
func fromHost(d *specs.LinuxDevice, hostPath string) error {
	var st unix.Stat_t
	if err := unix.Stat(hostPath, &st); err != nil {
		return fmt.Errorf("device node %s: %w", hostPath, err)
	}
	kind := map[uint32]string{unix.S_IFBLK: "b", unix.S_IFCHR: "c", unix.S_IFIFO: "p"}[st.Mode&unix.S_IFMT]
	if kind == "" || d.Type != "" && d.Type != kind && (d.Type != "u" || kind != "c") {
		return fmt.Errorf("device node %s: the file has another type", hostPath)
	}

	d.Type, d.Major, d.Minor = kind, int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	if d.FileMode == nil {
		mode := os.FileMode(st.Mode & 0o7777)
		d.FileMode = &mode
	}
	if d.UID == nil && st.Uid > 0 {
		d.UID = &st.Uid
	}
	if d.GID == nil && st.Gid > 0 {
		d.GID = &st.Gid
	}
	return nil
}

// withEnv returns variables with others added. They replace those of the same name.
func withEnv(env, more []string) []string {
	for _, v := range more {
		key, _, _ := strings.Cut(v, "=")
		env = slices.DeleteFunc(slices.Clone(env), func(old string) bool { return strings.HasPrefix(old, key+"=") })
		env = append(env, v)
	}
	return env
}

func isDeviceType(kind string) bool {
	return kind == "" || len(kind) == 1 && strings.Contains("bcup", kind)
}

// absolute returns an error for a path that is not absolute.
func absolute(what string, paths ...string) error {
	for _, p := range paths {
		if !path.IsAbs(p) {
			return fmt.Errorf("%s: %q is not an absolute path", what, p)
		}
	}
	return nil
}

func orPath(p, standard string) string {
	if p == "" {
		return standard
	}
	return p
}
