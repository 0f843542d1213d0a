// Package mounts lists and detaches the mounts below a directory. What they are for is not its concern.
// Package rootfs calls it to delete the files of containers, package builder to remove what a killed BuildKit has
// left.
package mounts

import (
	"bufio"
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// DetachUnder unmounts everything below a directory, also what is in use.
func DetachUnder(dir string) error {
	all, err := Under(dir)
	if err != nil {
		return err
	}

	for _, at := range slices.Backward(all) { // later mounts can hide earlier ones
		if err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return os.NewSyscallError("umount "+at, err)
		}
	}

	return nil
}

// Under returns the mount points below a directory, oldest first.
func Under(dir string) ([]string, error) {
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
		if at := unescape(fields[4]); strings.HasPrefix(at, dir+"/") {
			out = append(out, at)
		}
	}
}

// unescape decodes the four escapes of mountinfo, for spaces, tabs, line feeds and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
