package limitspec

import (
	"encoding/csv"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
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

// deviceName matches the name of a CDI device, VENDOR/CLASS=NAME.
var deviceName = regexp.MustCompile(`^[A-Za-z]([\w.-]*[A-Za-z0-9])?/[A-Za-z]([\w.-]*[A-Za-z0-9])?=` +
	`[A-Za-z0-9]([\w.:-]*[A-Za-z0-9])?$`)

// IsDeviceName reports whether text names a CDI device, VENDOR/CLASS=NAME.
func IsDeviceName(text string) bool { return deviceName.MatchString(text) }

// GPUs is a parsed --gpus.
type GPUs struct {
	Driver       string
	Count        int // -1 means all
	IDs          []string
	Capabilities []string // in addition to gpu
}

// ParseGPUs parses "all", a number, or fields as in "driver=nvidia,device=0" and
// "count=2,\"capabilities=compute,utility\"".
func ParseGPUs(text string) (GPUs, error) {
	var g GPUs
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return g, err
	}

	seen := map[string]bool{}
	for _, field := range fields {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			key, value = "count", field
		}
		if seen[key] {
			return g, fmt.Errorf("gpu request key '%s' can be specified only once", key)
		}
		seen[key] = true
		switch key {
		case "driver":
			g.Driver = value
		case "count":
			if g.Count, err = parseCount(value); err != nil {
				return g, err
			}
		case "device":
			g.IDs = strings.Split(value, ",")
		case "capabilities":
			g.Capabilities = strings.Split(value, ",")
		case "options":
			return g, errors.New("options of GPUs are not supported: a CDI specification has none")
		default:
			return g, fmt.Errorf("unexpected key '%s' in '%s'", key, field)
		}
	}

	if !seen["count"] && len(g.IDs) == 0 {
		g.Count = 1
	}
	return g, nil
}

func parseCount(text string) (int, error) {
	if text == "all" {
		return -1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf(`invalid count (%s): value must be either "all" or an integer`, text)
	}
	return n, nil
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
