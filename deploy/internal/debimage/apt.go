package debimage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// debs returns the package files of the given Debian packages and their libraries. Files in the
// cache are not downloaded again.
func debs(ctx context.Context, dir string, packages ...string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}

	list := filepath.Join(dir, strings.Join(packages, "+")+".list")
	if names, err := os.ReadFile(list); err == nil {
		if files := present(dir, strings.Fields(string(names))); files != nil {
			return files, nil
		}
	}

	all, err := closure(ctx, packages)
	if err != nil {
		return nil, err
	}

	args := append([]string{"-qq", "-o", "APT::Sandbox::User=root", "download"}, all...)
	if _, err := run(ctx, dir, "apt-get", args...); err != nil {
		return nil, err
	}

	files := present(dir, all)
	if files == nil {
		return nil, fmt.Errorf("apt-get download: %s holds not all of %v afterwards", dir, all)
	}

	return files, os.WriteFile(list, []byte(strings.Join(all, "\n")), 0o644)
}

// present returns the newest file of each package; nil if one is missing.
func present(dir string, packages []string) []string {
	var files []string
	for _, p := range packages {
		found, _ := filepath.Glob(filepath.Join(dir, p+"_*.deb"))
		if len(found) == 0 {
			return nil
		}
		files = append(files, newest(found))
	}
	return files
}

func newest(files []string) string {
	return slices.MaxFunc(files, func(a, b string) int {
		fa, errA := os.Stat(a)
		fb, errB := os.Stat(b)
		if errA != nil || errB != nil {
			return 0
		}
		return fa.ModTime().Compare(fb.ModTime())
	})
}

// library matches packages of shared libraries, and of modules of Python. Images and programs do not
// need other dependencies.
var library = regexp.MustCompile(`^\s+(?:Pre)?Depends: ((?:lib|zlib|python3-)[a-z0-9.+-]+)$`)

// closure adds the libraries that packages depend on, recursively.
func closure(ctx context.Context, packages []string) ([]string, error) {
	all := slices.Clone(packages)
	for level := packages; len(level) > 0; {
		out, err := run(ctx, "", "apt-cache", append([]string{"depends", "--important"}, level...)...)
		if err != nil {
			return nil, err
		}
		level = nil
		for line := range strings.Lines(out) {
			m := library.FindStringSubmatch(strings.TrimRight(line, "\n"))
			if m != nil && !slices.Contains(all, m[1]) {
				all, level = append(all, m[1]), append(level, m[1])
			}
		}
	}

	return all, nil
}

func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", name, err, errs.String())
	}
	return out.String(), nil
}
