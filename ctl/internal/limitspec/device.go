package limitspec

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"
)

// Device is a parsed --device.
type Device struct {
	HostPath, ContainerPath, Permissions string
}

// ParseDevice parses HOST_PATH[:CONTAINER_PATH][:PERMISSIONS].
func ParseDevice(text string) (Device, error) {
	parts := strings.Split(text, ":")
	d := Device{HostPath: parts[0], ContainerPath: parts[0], Permissions: "rwm"}
	switch {
	case len(parts) > 3 || parts[0] == "":
		return d, fmt.Errorf("invalid device specification: %s", text)
	case len(parts) == 2 && isMode(parts[1]):
		d.Permissions = parts[1]
	case len(parts) > 1 && parts[1] != "":
		d.ContainerPath = parts[1]
	}
	if len(parts) == 3 {
		d.Permissions = parts[2]
	}

	switch {
	case !isMode(d.Permissions):
		return d, fmt.Errorf("bad mode specified: %s", d.Permissions)
	case !path.IsAbs(d.HostPath):
		return d, fmt.Errorf("%s is not an absolute path", d.HostPath)
	case !path.IsAbs(d.ContainerPath):
		return d, fmt.Errorf("%s is not an absolute path", d.ContainerPath)
	}
	return d, nil
}

// isMode reports whether text consists of r, w and m, each at most once.
func isMode(text string) bool {
	return text != "" && strings.Trim(text, "rwm") == "" && strings.Count(text, "r") <= 1 &&
		strings.Count(text, "w") <= 1 && strings.Count(text, "m") <= 1
}

var deviceRule = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$`)
})

// CheckDeviceRule checks a --device-cgroup-rule.
func CheckDeviceRule(text string) error {
	if !deviceRule().MatchString(text) {
		return fmt.Errorf("invalid device cgroup format '%s'", text)
	}
	return nil
}

// Annotations parses --annotation: KEY[=VALUE]. The last value of a key applies.
func Annotations(texts []string) map[string]string {
	var out map[string]string
	for _, text := range texts {
		key, value, _ := strings.Cut(text, "=")
		if out == nil {
			out = map[string]string{}
		}
		out[key] = value
	}
	return out
}
