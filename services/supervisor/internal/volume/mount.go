package volume

import (
	"slices"
	"strings"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
)

// Mount is the mount that the options of a volume describe, as for mount(2).
type Mount struct {
	Type, Device, Data string
	Flags              uintptr
	Propagation        uintptr // 0 means none
}

// flag is a mount option that is a flag of mount(2); clear means that the option clears it.
type flag struct {
	clear bool
	value uintptr
}

// flags returns the options that are flags, as mount(8) has them.
func flags() map[string]flag {
	return map[string]flag{
		"defaults": {}, "async": {true, syscall.MS_SYNCHRONOUS}, "atime": {true, syscall.MS_NOATIME},
		"bind": {false, syscall.MS_BIND}, "dev": {true, syscall.MS_NODEV}, "diratime": {true, syscall.MS_NODIRATIME},
		"dirsync": {false, syscall.MS_DIRSYNC}, "exec": {true, syscall.MS_NOEXEC}, "mand": {false, syscall.MS_MANDLOCK},
		"noatime": {false, syscall.MS_NOATIME}, "nodev": {false, syscall.MS_NODEV},
		"nodiratime": {false, syscall.MS_NODIRATIME}, "noexec": {false, syscall.MS_NOEXEC},
		"nomand": {true, syscall.MS_MANDLOCK}, "norelatime": {true, syscall.MS_RELATIME},
		"nostrictatime": {true, syscall.MS_STRICTATIME}, "nosuid": {false, syscall.MS_NOSUID},
		"rbind": {false, syscall.MS_BIND | syscall.MS_REC}, "relatime": {false, syscall.MS_RELATIME},
		"ro": {false, syscall.MS_RDONLY}, "rw": {true, syscall.MS_RDONLY},
		"strictatime": {false, syscall.MS_STRICTATIME},
		"suid":        {true, syscall.MS_NOSUID}, "sync": {false, syscall.MS_SYNCHRONOUS},
	}
}

func propagations() map[string]uintptr {
	return map[string]uintptr{
		"private": syscall.MS_PRIVATE, "rprivate": syscall.MS_PRIVATE | syscall.MS_REC,
		"shared": syscall.MS_SHARED, "rshared": syscall.MS_SHARED | syscall.MS_REC,
		"slave": syscall.MS_SLAVE, "rslave": syscall.MS_SLAVE | syscall.MS_REC,
		"unbindable": syscall.MS_UNBINDABLE, "runbindable": syscall.MS_UNBINDABLE | syscall.MS_REC,
	}
}

// Mount parses the options of the volume. It returns nil for a volume without options, which is a
// plain directory.
func (v *Volume) Mount() (*Mount, error) {
	if len(v.Options) == 0 {
		return nil, nil
	}

	for name := range v.Options {
		if !slices.Contains([]string{"type", "o", "device"}, name) {
			return nil, fault.New(fault.Invalid, Subject(v.Name), `invalid option: "`+name+`"`, fault.WithField("opt"),
				fault.WithHint("use type, o and device"))
		}
	}

	m := &Mount{Type: v.Options["type"], Device: v.Options["device"]}
	switch {
	case strings.ContainsRune(m.Type+m.Device+v.Options["o"], 0):
		return nil, fault.Invalidf(Subject(v.Name), "opt", "an option contains a NUL byte")
	case m.Device == "":
		return nil, fault.Invalidf(Subject(v.Name), "opt", `missing required option: "device"`)
	case m.Type == "" && !m.parse(v.Options["o"]).IsBind():
		return nil, fault.Invalidf(Subject(v.Name), "opt", `missing required option: "type"`)
	}

	return m.parse(v.Options["o"]), nil
}

// parse sets the flags and the data of mount(2) from an option list.
func (m *Mount) parse(options string) *Mount {
	m.Flags, m.Propagation = 0, 0
	known, modes, data := flags(), propagations(), []string{}
	for o := range strings.SplitSeq(options, ",") {
		if mode, ok := modes[o]; ok {
			m.Propagation = mode
			continue
		}
		f, ok := known[o]
		switch {
		case ok && f.clear:
			m.Flags &^= f.value
		case ok:
			m.Flags |= f.value
		case o != "":
			data = append(data, o)
		}
	}

	m.Data = strings.Join(data, ",")
	return m
}

// IsBind reports whether the mount is a bind mount of a host path.
func (m *Mount) IsBind() bool { return m.Flags&syscall.MS_BIND != 0 }

// Remote returns the host of the option addr of a network file system, and whether there is one.
func (m *Mount) Remote() (host string, ok bool) {
	if !strings.HasPrefix(m.Type, "nfs") && m.Type != "cifs" {
		return "", false
	}
	for o := range strings.SplitSeq(m.Data, ",") {
		if host, ok = strings.CutPrefix(o, "addr="); ok {
			return host, true
		}
	}
	return "", false
}

// WithRemote returns a copy whose option addr has another value.
func (m *Mount) WithRemote(addr string) *Mount {
	n, out := *m, []string{}
	for o := range strings.SplitSeq(m.Data, ",") {
		if strings.HasPrefix(o, "addr=") {
			o = "addr=" + addr
		}
		out = append(out, o)
	}
	n.Data = strings.Join(out, ",")
	return &n
}
