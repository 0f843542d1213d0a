package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// clientsDir contains Docker's own clients, which make clients builds.
const clientsDir = cacheDir + "/clients"

// condition evaluates the script conditions. clients: Docker's own clients are built. builder: buildx and
// BuildKit are built too. libraries: the programs of testdata/libraries/go are built. node: those of
// testdata/libraries/node are installed. link:KIND: the
// kernel supports sub-interfaces of that kind.
// podman, containerd: it is installed, and FAIRLEAD_PODMAN or FAIRLEAD_CONTAINERD is set.
// soak: FAIRLEAD_SOAK is set.
// tools: git, npm and apt are installed, and FAIRLEAD_TOOLS is set.
// cri: containerd 2 and crictl are built, and runc is installed. critest: FAIRLEAD_CONTAINERD is set too.
// packages: Debian packages can be installed. The machine of deploy/vm has no network for
// that, and its root is an overlay, which cannot be a layer of another overlay.
func condition(cond string) (bool, error) {
	if cond == "packages" {
		return os.Getenv("FAIRLEAD_BIN") == "", nil
	}

	if cond == "clients" {
		return hasClients("docker", "cli-plugins/docker-compose"), nil
	}

	if cond == "builder" {
		return hasClients("docker", "cli-plugins/docker-compose", "cli-plugins/docker-buildx", "buildkitd"), nil
	}

	if cond == "libraries" {
		return hasClients("buildkitd", "libraries/moby", "libraries/fsouza", "libraries/dockertest",
			"libraries/testcontainers"), nil
	}

	if cond == "node" {
		_, err := exec.LookPath("node")
		return err == nil && hasClients("buildkitd", "node/dockerode.mjs", "node/testcontainers.mjs"), nil
	}

	if cond == "podman" {
		_, err := exec.LookPath("podman")
		return err == nil && os.Getenv("FAIRLEAD_PODMAN") != "", nil
	}

	if cond == "containerd" {
		_, err := exec.LookPath("ctr")
		return err == nil && os.Getenv("FAIRLEAD_CONTAINERD") != "", nil
	}

	if cond == "soak" {
		return os.Getenv(soakVar) != "", nil
	}

	if cond == "tools" {
		return hasTools("dnsmasq", "git", "npm", "apt-get"), nil
	}

	if cond == "cri" || cond == "critest" {
		_, err := exec.LookPath("runc")
		built := hasClients("cri/containerd", "cri/containerd-shim-runc-v2", "cri/crictl", "cri/critest")
		return err == nil && built && (cond == "cri" || os.Getenv("FAIRLEAD_CONTAINERD") != ""), nil
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

// hasTools reports whether all programs are installed, and their scripts are to run.
func hasTools(names ...string) bool {
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			return false
		}
	}
	return os.Getenv("FAIRLEAD_TOOLS") != ""
}

// hasClients reports whether all of these clients are built.
func hasClients(names ...string) bool {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(clientsDir, name)); err != nil {
			return false
		}
	}
	return true
}
