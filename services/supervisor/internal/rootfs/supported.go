package rootfs

import (
	"errors"
	"os"
	"slices"
	"strings"
)

// Supported returns why the kernel cannot mount overlays, or nil if it can.
func Supported() error {
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(string(known)), "overlay") {
		return errors.New("the kernel does not support overlayfs, or the module overlay is not loaded")
	}
	return nil
}
