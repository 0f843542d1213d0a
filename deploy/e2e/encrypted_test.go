package e2e

import (
	"os/exec"
	"strings"
)

// hasWireGuard reports whether the kernel has WireGuard.
func hasWireGuard() bool {
	name := "probewg0"
	err := exec.Command("unshare", "--net", "ip", "link", "add", name, "type", "wireguard").Run()
	return err == nil
}

// overlayEncrypted checks that a kernel without WireGuard refuses encrypted networks, with the names of
// the hosts.
func (f *fleet) overlayEncrypted() {
	f.t.Helper()
	if hasWireGuard() {
		return
	}
	f.refuse(1, "network create -d overlay -o encrypted secret",
		"network secret: cannot be encrypted: hosts without WireGuard: one, three, two")
	if out := f.run(1, "fleet inspect -f {{.TunnelKeys}}"); strings.TrimSpace(out) != "[]" {
		f.t.Errorf("keys of a host without WireGuard: %s", out)
	}
}
