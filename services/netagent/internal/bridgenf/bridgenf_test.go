package bridgenf_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/bridgenf"
)

func TestNeeded(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"plain host": {"etc/hostname", "x", ""},
		"kubeadm's documents": {"etc/sysctl.d/k8s.conf", "net.bridge.bridge-nf-call-iptables  = 1\n",
			"etc/sysctl.d/k8s.conf"},
		"with slashes": {"run/sysctl.d/a.conf", "# x\n-net/bridge/bridge-nf-call-iptables=1\n",
			"run/sysctl.d/a.conf"},
		"set to 0":          {"etc/sysctl.conf", "net.bridge.bridge-nf-call-iptables = 0\n", ""},
		"commented out":     {"etc/sysctl.conf", "#net.bridge.bridge-nf-call-iptables = 1\n", ""},
		"another parameter": {"etc/sysctl.conf", "net.bridge.bridge-nf-call-arptables = 1\n", ""},
		"kubelet":           {"var/lib/kubelet/config.yaml", "", "var/lib/kubelet/config.yaml"},
		"CNI":               {"etc/cni/net.d/10-flannel.conflist", "", "etc/cni/net.d/10-flannel.conflist"},
		"k3s":               {"etc/rancher/k3s/k3s.yaml", "", "etc/rancher/k3s/k3s.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, c.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			want := ""
			if c.want != "" {
				want = filepath.Join(root, c.want)
			}
			if got := bridgenf.Needed(root); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
