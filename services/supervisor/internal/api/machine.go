package api

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// engineID returns a UUID that is stable for a machine and a directory.
func engineID(dataRoot string) string {
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		machine = []byte(hostName())
	}
	sum := sha256.Sum256(append(bytes.TrimSpace(machine), dataRoot...))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // version 8, variant of RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// hostName returns the name of the host, or an empty string.
func hostName() string {
	name, _ := os.Hostname()
	return name
}

// operatingSystem returns the name of the distribution.
func operatingSystem() string {
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
				return strings.Trim(name, `"'`)
			}
		}
	}
	return "Linux"
}

// memory returns the memory of the host in bytes.
func memory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}
