package cgroup

import (
	"reflect"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
)

const (
	v2Info = `22 27 0:21 / /proc rw,relatime - proc proc rw
30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
`
	v1Info = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
`
	unified = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)

func TestParseLayout(t *testing.T) {
	v1Mounts := []string{"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/devices",
		"/sys/fs/cgroup/pids"}
	for name, c := range map[string]struct {
		info string
		want Layout
		err  string
	}{
		"v2": {v2Info, Layout{Mode: V2, Mounts: []string{root}, V2: root, Parent: "/fairlead"}, ""},
		"v1": {v1Info, Layout{Mode: V1, Mounts: v1Mounts, Parent: "/fairlead"}, ""},
		"hybrid": {v1Info + unified, Layout{Mode: Hybrid, Mounts: append(v1Mounts[:4:4], root+"/unified"),
			V2: root + "/unified", Parent: "/fairlead"}, ""},
		"mounted twice": {v2Info + v2Info, Layout{Mode: V2, Mounts: []string{root}, V2: root, Parent: "/fairlead"}, ""},
		"elsewhere":     {strings.ReplaceAll(v2Info, root, "/mnt/cg"), Layout{}, "nothing is mounted"},
		"only unified":  {unified, Layout{}, "must be at /sys/fs/cgroup"},
		"empty":         {"", Layout{}, "nothing is mounted"},
		"nonsense":      {"- \n - \nx y z\n", Layout{}, "nothing is mounted"},
	} {
		got, err := parse(c.info)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v, want an error with %q", name, err, c.err)
			}
		case err != nil || !reflect.DeepEqual(got, c.want):
			t.Errorf("%s:\n got %+v, %v\nwant %+v", name, got, err, c.want)
		}
	}
}

func TestMissingControllers(t *testing.T) {
	v1, err := parse(v1Info)
	if err != nil {
		t.Fatal(err)
	}

	if m := v1.missing(nil); len(m) != 0 {
		t.Errorf("v1: got missing %v", m)
	}

	v1.Mounts = v1.Mounts[1:2]
	if m := v1.missing(nil); !reflect.DeepEqual(m, []string{"devices", "pids"}) {
		t.Errorf("v1 with memory only: got missing %v", m)
	}

	v2, err := parse(v2Info)
	if err != nil {
		t.Fatal(err)
	}

	if m := v2.missing([]string{"cpu", "pids"}); !reflect.DeepEqual(m, []string{"memory"}) {
		t.Errorf("v2 without memory: got missing %v", m)
	}
}

func TestCheckCrunHintsMount(t *testing.T) {
	l := Layout{Mode: Hybrid, V2Controllers: []string{"hugetlb"}}
	err := l.CheckCrun()
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(),
		"mount -t cgroup -o hugetlb cgroup /sys/fs/cgroup/hugetlb") {
		t.Errorf("CheckCrun: got %v", err)
	}
	l.V2Controllers = nil
	if err := l.CheckCrun(); err != nil {
		t.Errorf("CheckCrun: got %v, want nil", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(v1Info + unified)
	f.Add(v2Info)
	f.Fuzz(func(t *testing.T, info string) {
		if l, err := parse(info); err == nil && (l.Mode == 0 || len(l.Mounts) == 0) {
			t.Errorf("parse(%q): got %+v", info, l)
		}
	})
}
