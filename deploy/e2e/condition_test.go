package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// condition knows link:KIND, which tells whether the kernel has links of a kind that are children of another one, and packages, whether
// packages can be had: not in the machine of deploy/vm, which has no network and cannot lay one folder over another of its own.
func condition(cond string) (bool, error) {
	if cond == "packages" {
		return os.Getenv("FAIRLEAD_BIN") == "", nil
	}
	kind, ok := strings.CutPrefix(cond, "link:")
	if !ok {
		return false, fmt.Errorf("unknown condition %q", cond)
	}
	if kind == "vlan" {
		kind += " id 5"
	}
	script := "ip link add v0 type veth peer name v1 && ip link add link v0 name probe type " + kind
	return exec.Command("unshare", "--net", "sh", "-c", script).Run() == nil, nil
}
