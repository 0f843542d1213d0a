package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestUsageOfEachLayout(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string // path below the mounts to content
		want  Usage
	}{
		"v1": {map[string]string{
			"cpu/f/c/cgroup.procs": "1\n", "cpu/f/c/cpuacct.usage": "5000\n",
			"memory/f/c/memory.usage_in_bytes": "9000\n",
			"memory/f/c/memory.stat":           "cache 1\ntotal_inactive_file 1000\n",
			"memory/f/c/memory.limit_in_bytes": "9223372036854771712\n",
			"pids/f/c/pids.current":            "3\n", "pids/f/c/pids.max": "max\n",
			"blkio/f/c/blkio.throttle.io_service_bytes": "8:0 Read 4096\n8:0 Write 1\n8:16 Read 4\nTotal 4101\n",
		}, Usage{CPU: 5000, Memory: 8000, BlockRead: 4100, BlockWrite: 1, Pids: 3}},
		"v2": {map[string]string{
			"all/f/c/cgroup.procs": "1\n", "all/f/c/cpu.stat": "usage_usec 7\nuser_usec 1\n",
			"all/f/c/memory.current": "9000\n", "all/f/c/memory.stat": "file 8\ninactive_file 10\n",
			"all/f/c/memory.max": "10000\n", "all/f/c/pids.current": "1\n", "all/f/c/pids.max": "20\n",
			"all/f/c/io.stat": "8:0 rbytes=10 wbytes=2 rios=1\n8:16 rbytes=1 wbytes=1\n",
		}, Usage{CPU: 7000, Memory: 8990, MemoryLimit: 10000, BlockRead: 11, BlockWrite: 3, Pids: 1, PidsLimit: 20}},
	} {
		root := t.TempDir()
		l := Layout{Parent: "/f"}
		for path, text := range c.files {
			full := filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			l.add(filepath.Dir(filepath.Dir(filepath.Dir(full))))
		}
		m := l.NewMeter()
		defer m.Close()
		var before *Usage
		for range 2 { // the second time it knows the hierarchies, and has the files open
			got, ok := m.Usage("", "c", before)
			if !ok || got != c.want {
				t.Errorf("%s: got %+v, %v, want %+v", name, got, ok, c.want)
			}
			if _, ok := m.Usage("", "none", nil); ok {
				t.Errorf("%s: got usage without a cgroup", name)
			}
			before = &got
			m.Sweep()
		}
	}
}
