// Package bridgenf detects programs that rely on net.bridge.bridge-nf-call-iptables. The kernel's
// value does not show them: it is 1 whenever the module br_netfilter is loaded. It only reads
// configuration files. Package hostnet calls it.
package bridgenf

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// setting is the name of the kernel parameter in sysctl.conf(5).
const setting = "net.bridge.bridge-nf-call-iptables"

// configurations returns patterns of the files that set kernel parameters at boot (sysctl.d(5)).
func configurations() []string {
	return []string{"etc/sysctl.conf", "etc/sysctl.d/*.conf", "run/sysctl.d/*.conf", "usr/local/lib/sysctl.d/*.conf",
		"usr/lib/sysctl.d/*.conf", "lib/sysctl.d/*.conf"}
}

// nodes returns patterns of files on Kubernetes nodes and of CNI plugins. The nodes are those of
// kubeadm, k3s, RKE2, k0s and MicroK8s.
func nodes() []string {
	return []string{"etc/kubernetes/kubelet.conf", "var/lib/kubelet/config.yaml", "etc/rancher/*/*.yaml",
		"var/lib/rancher/*/agent",
		"var/lib/k0s/kubelet", "var/snap/microk8s", "etc/cni/net.d/*.conflist", "etc/cni/net.d/*.conf"}
}

// Needed returns a file that shows that another program needs bridge-nf-call-iptables=1. It returns
// an empty string without one. root is the root directory of the host; empty means /.
func Needed(root string) string {
	if root == "" {
		root = "/"
	}

	for _, pattern := range configurations() {
		for _, path := range matches(root, pattern) {
			if sets(path) {
				return path
			}
		}
	}

	for _, pattern := range nodes() {
		if found := matches(root, pattern); len(found) > 0 {
			return found[0]
		}
	}

	return ""
}

func matches(root, pattern string) []string {
	found, _ := filepath.Glob(filepath.Join(root, pattern)) // fails only for an invalid pattern
	return found
}

// sets reports whether a file sets the parameter to a value other than 0. An unreadable file sets
// nothing.
func sets(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, ok := strings.Cut(strings.TrimLeft(strings.TrimSpace(lines.Text()), "-"), "=")
		name = strings.ReplaceAll(strings.TrimSpace(name), "/", ".")
		if ok && name == setting && strings.TrimSpace(value) != "0" {
			return true
		}
	}

	return false
}
