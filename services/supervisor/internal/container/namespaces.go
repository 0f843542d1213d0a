package container

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Namespaces holds the namespace modes of a container, except those of its network and its host
// name.
type Namespaces struct {
	IPC    string `json:",omitempty"` // an IPC mode, or container:ID; empty: the agent's default
	PID    string `json:",omitempty"` // HostNamespace, or container:ID; empty: private
	Cgroup string `json:",omitempty"` // PrivateNamespace or HostNamespace; empty: the agent's default
	User   string `json:",omitempty"` // HostNamespace or empty, which are the same
	// CgroupParent is the parent of the container's cgroup; empty: the agent's default.
	CgroupParent string `json:",omitempty"`
}

// Modes of namespaces.
const (
	HostNamespace    = "host"
	PrivateNamespace = "private"
	IPCShareable     = "shareable" // other containers can join it
	IPCNone          = "none"      // private, without /dev/shm
)

// Joins returns the container whose namespace a mode joins.
func Joins(mode string) (ref string, ok bool) { return strings.CutPrefix(mode, joinPrefix) }

// JoinedIPC returns the container whose IPC namespace is joined; ok is false in other modes.
func (n *Namespaces) JoinedIPC() (ref string, ok bool) { return Joins(n.IPC) }

// JoinedPID returns the container whose PID namespace is joined; ok is false in other modes.
func (n *Namespaces) JoinedPID() (ref string, ok bool) { return Joins(n.PID) }

// OwnsPIDs reports whether the container has a PID namespace of its own.
func (n *Namespaces) OwnsPIDs() bool { return n.PID == "" }

// withDefaults returns a copy in which all modes are set. A privileged container uses the host's
// cgroup namespace with cgroup v1, as in Docker.
func (n Namespaces) withDefaults(d Defaults, privileged bool) Namespaces {
	n.IPC = cmp.Or(n.IPC, d.IPC, PrivateNamespace)
	n.CgroupParent = cmp.Or(n.CgroupParent, d.CgroupParent)
	switch {
	case n.Cgroup != "":
	case privileged && !d.CgroupV2:
		n.Cgroup = HostNamespace
	case d.Cgroup != "":
		n.Cgroup = d.Cgroup
	case d.CgroupV2:
		n.Cgroup = PrivateNamespace
	default:
		n.Cgroup = HostNamespace
	}
	return n
}

// JoinMode returns the mode of a container that joins a namespace of the container uid.
func JoinMode(uid string) string { return joinPrefix + uid }

func (c *Config) validateNamespaces() error {
	n := &c.Namespaces
	for _, mode := range []struct {
		field, what, value string
		allowed            []string
		joins              bool
	}{
		{"ipc", "IPC", n.IPC, []string{"", HostNamespace, PrivateNamespace, IPCShareable, IPCNone}, true},
		{"pid", "PID", n.PID, []string{"", HostNamespace}, true},
		{"cgroupns", "CGROUP", n.Cgroup, []string{"", HostNamespace, PrivateNamespace}, false},
		{"userns", "USER", n.User, []string{"", HostNamespace}, false},
	} {
		ref, joined := Joins(mode.value)
		if slices.Contains(mode.allowed, mode.value) || mode.joins && joined && ref != "" {
			continue
		}
		hint := strings.Join(mode.allowed[1:], ", ")
		if mode.joins {
			hint += ", container:NAME"
		}
		return fault.New(fault.Invalid, c.subject(), "invalid "+mode.what+" mode: "+mode.value,
			fault.WithField(mode.field), fault.WithHint("the modes are %s", hint))
	}

	if err := c.validateCgroupParent(); err != nil {
		return err
	}
	if c.Init != nil && *c.Init && !n.OwnsPIDs() {
		return fault.New(fault.Invalid, c.subject(), "conflicting options: init and the PID mode",
			fault.WithField("init"), fault.WithHint("omit --init: another process is the init process there"))
	}
	return c.validateAnnotations()
}

func (c *Config) validateCgroupParent() error {
	parent := c.Namespaces.CgroupParent
	if parent == "" {
		return nil
	}
	if slices.Contains(strings.Split(parent, "/"), "..") || path.Clean("/"+parent) == "/" ||
		strings.ContainsAny(parent, "\n\x00") {
		return fault.New(fault.Invalid, c.subject(), "invalid cgroup parent: "+parent, fault.WithField("cgroup-parent"),
			fault.WithHint("write a path below the root of the cgroups, as in /limited/web"))
	}
	return nil
}

// filterAnnotation is the annotation that crun reads a compiled seccomp profile from.
const filterAnnotation = "run.oci.seccomp_bpf_data"

func (c *Config) validateAnnotations() error {
	for _, key := range slices.Sorted(maps.Keys(c.Annotations)) {
		switch {
		case strings.TrimSpace(key) == "":
			return fault.Invalidf(c.subject(), "annotation",
				"invalid Annotation: the empty string is not permitted as an annotation key")
		case key == filterAnnotation:
			return fault.New(fault.Invalid, c.subject(), "annotation "+key+" is set by the agent",
				fault.WithField("annotation"), fault.WithHint("use --security-opt seccomp=FILE"))
		}
	}
	return nil
}
