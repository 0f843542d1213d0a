package defaults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
)

func TestDefaultsThatCannotWorkAreRejected(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.json")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}

	h := spec.Host{MaxUlimits: map[string]uint64{"nofile": 10}}
	for want, o := range map[string]Options{
		"default-ulimits: ulimit nofile=11:11 exceeds": {
			Ulimits: []resource.Ulimit{{Name: "nofile", Soft: 11, Hard: 11}}},
		"init-path /nosuch: is not a program":     {InitPath: "/nosuch"},
		"default-cgroupns-mode: Your kernel":      {CgroupnsMode: "private"},
		"seccomp-profile /nosuch: cannot be used": {SeccompProfile: "/nosuch"},
		"seccomp-profile " + broken + ": cannot":  {SeccompProfile: broken},
	} {
		if _, err := Read(o, cgroup.Layout{}, h); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", o, err, want)
		}
	}
}

func TestDefaultsFollowHost(t *testing.T) {
	d, err := Read(Options{PidsLimit: 5, SeccompProfile: "unconfined"}, cgroup.Layout{Mode: cgroup.V2}, spec.Host{})
	if err != nil || !d.CgroupV2 || !d.NoSwapLimit || d.PidsLimit != 5 || d.Seccomp != container.Unconfined {
		t.Errorf("got %+v, %v", d, err)
	}
}
