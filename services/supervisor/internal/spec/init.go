package spec

import (
	"os/exec"
	"path/filepath"
)

// FindInit returns the path of the init program for containers, empty if there is none. The program
// must be static, as it runs with the files of any image.
func FindInit(configured string) string {
	candidates := []string{"docker-init", "catatonit", "tini-static"}
	if configured != "" {
		candidates = []string{configured}
	}
	for _, name := range candidates {
		for _, dir := range []string{"", "/usr/libexec/docker", "/usr/libexec/podman", "/usr/bin", "/usr/local/bin"} {
			path, err := exec.LookPath(filepath.Join(dir, name))
			if err == nil && filepath.IsAbs(path) {
				return path
			}
			if filepath.IsAbs(name) {
				break
			}
		}
	}
	return ""
}
