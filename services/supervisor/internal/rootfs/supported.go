package rootfs

import (
	"errors"
	"os"
	"slices"
	"strings"
)

// Supported tells why the kernel cannot lay the layers of an image over each other; nil if it can.
func Supported() error {
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(string(known)), "overlay") {
		return errors.New("the kernel has no overlay file system, or has not loaded it")
	}
	return nil
}
