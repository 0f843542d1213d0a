// Package mounts lists and detaches the mounts below a directory. What they are for is not its concern.
// Package rootfs calls it to delete the files of containers, package builder to remove what a killed BuildKit has
// left.
package mounts

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// DetachUnder unmounts everything below a directory, also what is in use. It goes on after an error. Mounts that
// vanish meanwhile are no error.
func DetachUnder(dir string) error {
	all, err := Under(dir)
	if err != nil {
		return err
	}

	var errs []error
	for _, at := range slices.Backward(all) { // later mounts can hide earlier ones
		err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, os.NewSyscallError("umount "+at, err))
		}
	}

	return errors.Join(errs...)
}

// Under returns the mount points below a directory, oldest first. Their paths start with dir, also if it has
// symbolic links, which the kernel's list has resolved.
func Under(dir string) ([]string, error) {
	resolved, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}

	// Of this thread, because threads can be in different mount namespaces.
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadString('\n') // unlimited: the line of an overlay lists all its layers
		if line == "" && err != nil {
			return out, nil
		}
		fields := strings.SplitN(line, " ", 6)
		if len(fields) < 6 {
			continue
		}
		if below, ok := strings.CutPrefix(unescape(fields[4]), resolved+"/"); ok {
			out = append(out, filepath.Join(dir, below))
		}
	}
}

// unescape decodes the four escapes of mountinfo, for spaces, tabs, line feeds and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
