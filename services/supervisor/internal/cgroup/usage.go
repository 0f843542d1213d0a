package cgroup

import (
	"math"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/services/supervisor/internal/procfile"
)

// Usage is the resource usage of a container. Values that the host does not account are 0.
type Usage struct {
	CPU                   uint64 // nanoseconds of CPU time
	Memory, MemoryLimit   uint64 // bytes, without inactive files; a limit of 0 means none
	BlockRead, BlockWrite uint64 // bytes
	Pids, PidsLimit       uint64 // processes and threads; a limit of 0 means none
}

// Meter reads the resource usage of many containers. It remembers which hierarchy has which file, and
// keeps the files open. It must not be used concurrently.
type Meter struct {
	layout Layout
	where  map[string]int // index in layout.Mounts by file name
	path   string         // of the container being read, below the mounts
	files  *procfile.Files
}

// NewMeter returns a Meter. Close releases it.
func (l Layout) NewMeter() *Meter {
	return &Meter{layout: l, where: map[string]int{}, files: procfile.NewFiles()}
}

// Sweep forgets the containers that were not read since the last Sweep.
func (m *Meter) Sweep() { m.files.Sweep() }

// Close closes all files.
func (m *Meter) Close() { m.files.Close() }

// Usage reads the resource usage of a container from its cgroups below parent; empty means the parent of
// the layout. The limits are those of before, unless it is nil. ok is false if the container has no cgroups.
func (m *Meter) Usage(parent, uid string, before *Usage) (u Usage, ok bool) {
	if u.CPU, ok = m.CPU(parent, uid); !ok {
		return u, false
	}

	u.Memory = m.memory()
	u.BlockRead, u.BlockWrite = m.block()
	u.Pids, _ = m.number("pids.current")
	if before != nil {
		u.MemoryLimit, u.PidsLimit = before.MemoryLimit, before.PidsLimit
	} else {
		u.MemoryLimit, u.PidsLimit = m.limits()
	}
	return u, true
}

// CPU reads the nanoseconds of CPU time of a container. Its parameters are those of Usage.
func (m *Meter) CPU(parent, uid string) (uint64, bool) {
	m.path = m.layout.Below(parent).Path(uid)
	if m.hasV1() {
		if n, v1 := m.number("cpuacct.usage"); v1 {
			return n, true
		}
	}
	if n, v2 := m.entry("cpu.stat", "usage_usec"); v2 {
		return n * 1000, true
	}
	_, ok := m.read("cgroup.procs")
	return 0, ok
}

// memory returns the memory without inactive files.
func (m *Meter) memory() uint64 {
	if m.hasV1() {
		if n, v1 := m.number("memory.usage_in_bytes"); v1 {
			inactive, _ := m.entry("memory.stat", "total_inactive_file")
			return n - min(n, inactive)
		}
	}
	n, _ := m.number("memory.current")
	inactive, _ := m.entry("memory.stat", "inactive_file")
	return n - min(n, inactive)
}

func (m *Meter) limits() (memory, pids uint64) {
	v1 := false
	if m.hasV1() {
		memory, v1 = m.number("memory.limit_in_bytes")
	}
	if !v1 {
		memory, _ = m.number("memory.max")
	}
	if memory > math.MaxInt64/2 { // v1 has the largest multiple of a page
		memory = 0
	}
	pids, _ = m.number("pids.max")
	return memory, pids
}

// hasV1 reports whether there are hierarchies of version 1. Without them, their files are not tried.
func (m *Meter) hasV1() bool { return m.layout.Mode != V2 }

// read returns the content of the first file with a name.
func (m *Meter) read(name string) (string, bool) {
	if i, ok := m.where[name]; ok {
		if text, ok := m.readAt(i, name); ok {
			return text, true
		}
	}
	for i := range m.layout.Mounts {
		if text, ok := m.readAt(i, name); ok {
			m.where[name] = i
			return text, true
		}
	}
	return "", false
}

// readAt reads a file of one hierarchy.
func (m *Meter) readAt(i int, name string) (string, bool) {
	text, err := m.files.Read(m.layout.Mounts[i] + m.path + "/" + name)
	return text, err == nil
}

// number reads a file with one number; "max" is 0.
func (m *Meter) number(name string) (uint64, bool) {
	text, ok := m.read(name)
	n, _ := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	return n, ok
}

// entry reads one number of a file with lines of names and numbers. In a hybrid layout, several
// hierarchies have a file cpu.stat; the first one with the entry counts.
func (m *Meter) entry(name, key string) (uint64, bool) {
	first, known := m.where[name+" "+key]
	for i := range m.layout.Mounts {
		if known {
			i = (first + i) % len(m.layout.Mounts)
		}
		text, ok := m.readAt(i, name)
		if !ok {
			continue
		}
		for line := range strings.Lines(text) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
				m.where[name+" "+key] = i
				n, _ := strconv.ParseUint(v, 10, 64)
				return n, true
			}
		}
	}
	return 0, false
}

// block returns the bytes read from and written to block devices.
func (m *Meter) block() (read, written uint64) {
	for _, name := range []string{"blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"} {
		if !m.hasV1() {
			break
		}
		if text, ok := m.read(name); ok { // lines such as "8:0 Read 4096"
			return sum(text, "Read"), sum(text, "Write")
		}
	}
	text, _ := m.read("io.stat") // lines such as "8:0 rbytes=4096 wbytes=0 rios=1"
	for line := range strings.Lines(text) {
		for _, field := range strings.Fields(line) {
			k, v, _ := strings.Cut(field, "=")
			n, _ := strconv.ParseUint(v, 10, 64)
			switch k {
			case "rbytes":
				read += n
			case "wbytes":
				written += n
			}
		}
	}

	return read, written
}

func sum(text, operation string) (total uint64) {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[1] == operation {
			n, _ := strconv.ParseUint(fields[2], 10, 64)
			total += n
		}
	}
	return total
}
