// Package bridgenf finds out whether a program of the host relies on net.bridge.bridge-nf-call-iptables. The kernel's value does not
// tell: it is 1 whenever the module br_netfilter is loaded.
package bridgenf

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// setting is the kernel parameter, as sysctl.conf(5) writes it.
const setting = "net.bridge.bridge-nf-call-iptables"

// configurations are the files that set kernel parameters at boot (sysctl.d(5)).
func configurations() []string {
	return []string{"etc/sysctl.conf", "etc/sysctl.d/*.conf", "run/sysctl.d/*.conf", "usr/local/lib/sysctl.d/*.conf",
		"usr/lib/sysctl.d/*.conf", "lib/sysctl.d/*.conf"}
}

// nodes are directories of Kubernetes nodes: of kubeadm, k3s and RKE2, k0s, MicroK8s, and of any CNI plugin.
func nodes() []string {
	return []string{"etc/kubernetes/kubelet.conf", "var/lib/kubelet/config.yaml", "etc/rancher/*/*.yaml", "var/lib/rancher/*/agent",
		"var/lib/k0s/kubelet", "var/snap/microk8s", "etc/cni/net.d/*.conflist", "etc/cni/net.d/*.conf"}
}

// Needed returns the file that shows that another program relies on bridge-nf-call-iptables=1; empty without one. root is where the
// host's file system is; empty means /.
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
	found, _ := filepath.Glob(filepath.Join(root, pattern)) // which only fails for a bad pattern
	return found
}

// sets reports whether a file sets the parameter to another value than 0. What cannot be read sets nothing.
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
