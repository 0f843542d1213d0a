package debimage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Programs unpacks packages and their libraries into a directory of the cache and returns it.
// Nothing is installed, so no service is started.
func (c Cache) Programs(ctx context.Context, packages ...string) (root string, err error) {
	files, err := debs(ctx, filepath.Join(c.Dir, "debs"), packages...)
	if err != nil {
		return "", err
	}

	sum := sha256.New()
	fmt.Fprintln(sum, recipe, files)
	if root, err = filepath.Abs(filepath.Join(c.Dir, "programs",
		fmt.Sprintf("%s-%x", packages[0], sum.Sum(nil)[:6]))); err != nil {
		return "", err
	}

	if _, err := os.Stat(root); err == nil {
		return root, nil
	}

	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return "", err
	}

	half, err := os.MkdirTemp(filepath.Dir(root), "half-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(half)) }()

	for _, name := range merged {
		if err := errors.Join(os.MkdirAll(filepath.Join(half, "usr", name), 0o755),
			os.Symlink("usr/"+name, filepath.Join(half, name))); err != nil {
			return "", err
		}
	}

	for _, deb := range files {
		if err := unpack(ctx, deb, half); err != nil {
			return "", err
		}
	}

	if err := errors.Join(os.MkdirAll(filepath.Join(half, "etc"), 0o755), os.Chmod(half, 0o755)); err != nil {
		return "", err
	}

	if err := os.Rename(half, root); err != nil {
		if _, there := os.Stat(root); there != nil { // otherwise another process was faster
			return "", err
		}
	}

	return root, nil
}
