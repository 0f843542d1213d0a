package cgroup

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Usage is the resource usage of a container. Values that the host does not account are 0.
type Usage struct {
	CPU                   uint64 // nanoseconds of CPU time
	Memory, MemoryLimit   uint64 // bytes, without inactive files; a limit of 0 means none
	BlockRead, BlockWrite uint64 // bytes
	Pids, PidsLimit       uint64 // processes and threads; a limit of 0 means none
}

// Usage reads the resource usage of a container from its cgroups. ok is false if it has none.
func (l Layout) Usage(uid string) (u Usage, ok bool) {
	f := files(l.dirs(l.Path(uid)))
	if _, ok = f.read("cgroup.procs"); !ok {
		return u, false
	}

	if n, v1 := f.number("cpuacct.usage"); v1 {
		u.CPU = n
	} else {
		u.CPU = f.entry("cpu.stat", "usage_usec") * 1000
	}

	if n, v1 := f.number("memory.usage_in_bytes"); v1 {
		u.Memory = n - min(n, f.entry("memory.stat", "total_inactive_file"))
		u.MemoryLimit, _ = f.number("memory.limit_in_bytes")
	} else if n, v2 := f.number("memory.current"); v2 {
		u.Memory = n - min(n, f.entry("memory.stat", "inactive_file"))
		u.MemoryLimit, _ = f.number("memory.max")
	}

	if u.MemoryLimit > math.MaxInt64/2 { // v1 has the largest multiple of a page
		u.MemoryLimit = 0
	}

	u.BlockRead, u.BlockWrite = f.block()
	u.Pids, _ = f.number("pids.current")
	u.PidsLimit, _ = f.number("pids.max")
	return u, true
}

// files are the directories of one cgroup, one for each hierarchy.
type files []string

// read returns the content of the first file with a name.
func (f files) read(name string) (string, bool) {
	for _, dir := range f {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return string(text), true
		}
	}
	return "", false
}

// number reads a file with one number; "max" is 0.
func (f files) number(name string) (uint64, bool) {
	text, ok := f.read(name)
	n, _ := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	return n, ok
}

// entry reads one number of a file with lines of names and numbers. In a hybrid layout, several
// hierarchies have a file cpu.stat; the first one with the entry counts.
func (f files) entry(name, key string) uint64 {
	for _, dir := range f {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
				n, _ := strconv.ParseUint(v, 10, 64)
				return n
			}
		}
	}
	return 0
}

// block returns the bytes read from and written to block devices.
func (f files) block() (read, written uint64) {
	for _, name := range []string{"blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"} {
		if text, ok := f.read(name); ok { // lines such as "8:0 Read 4096"
			return sum(text, "Read"), sum(text, "Write")
		}
	}
	text, _ := f.read("io.stat") // lines such as "8:0 rbytes=4096 wbytes=0 rios=1"
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
