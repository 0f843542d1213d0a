// Package limitspec parses the values of resource options such as --memory, --cpus and --ulimit,
// with Docker's syntax and messages. It performs no I/O. Command run calls it.
package limitspec

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// size is compiled when it is needed: every command starts with this package.
var size = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$`)
})

// ParseSize parses a size such as 512, 64k or 1.5GiB in binary units.
func ParseSize(text string) (int64, error) {
	m := size().FindStringSubmatch(strings.ToLower(text))
	if m == nil {
		return 0, fmt.Errorf("invalid size: '%s'", text)
	}
	number, err := strconv.ParseFloat(m[1], 64)
	if m[2] != "" {
		number *= math.Exp2(10 * float64(1+strings.Index("kmgtp", m[2])))
	}
	if err != nil || number >= math.MaxInt64 {
		return 0, fmt.Errorf("invalid size: '%s'", text)
	}
	return int64(number), nil
}

// ParseCPUs parses a number of CPUs such as 1.5. The result has the unit 10^-9 CPUs.
func ParseCPUs(text string) (int64, error) {
	cpus, ok := new(big.Rat).SetString(text)
	if !ok || len(text) > 32 || strings.ContainsAny(text, "eEpPxX/") {
		return 0, fmt.Errorf("failed to parse %s as a rational number", text)
	}
	nano := cpus.Mul(cpus, big.NewRat(1e9, 1))
	if !nano.IsInt() {
		return 0, fmt.Errorf("value is too precise")
	}
	if !nano.Num().IsInt64() {
		return 0, fmt.Errorf("failed to parse %s as a number of CPUs", text)
	}
	return nano.Num().Int64(), nil
}

// Ulimit is a parsed --ulimit. -1 means unlimited.
type Ulimit struct {
	Name       string
	Soft, Hard int64
}

var ulimitNames = []string{"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
	"rss", "rtprio", "rttime", "sigpending", "stack"}

// ParseUlimit parses NAME=SOFT[:HARD].
func ParseUlimit(text string) (Ulimit, error) {
	name, values, ok := strings.Cut(text, "=")
	switch {
	case !ok || values == "":
		return Ulimit{}, fmt.Errorf("invalid ulimit argument: %s", text)
	case !slices.Contains(ulimitNames, name):
		return Ulimit{}, fmt.Errorf("invalid ulimit type: %s", name)
	case strings.Count(values, ":") > 1:
		return Ulimit{}, fmt.Errorf("too many limit value arguments - %s, can only have up to two, `soft[:hard]`",
			values)
	}

	u := Ulimit{Name: name}
	soft, hard, both := strings.Cut(values, ":")
	var err error
	if u.Soft, err = parseLimit(soft); err != nil {
		return u, err
	}
	u.Hard = u.Soft
	if both {
		if u.Hard, err = parseLimit(hard); err != nil {
			return u, err
		}
	}

	switch {
	case u.Soft == -1 && u.Hard != -1:
		return u, fmt.Errorf("ulimit soft limit must be less than or equal to hard limit: "+
			"soft: -1 (unlimited), hard: %d", u.Hard)
	case u.Hard != -1 && u.Soft > u.Hard:
		return u, fmt.Errorf("ulimit soft limit must be less than or equal to hard limit: %d > %d", u.Soft, u.Hard)
	}
	return u, nil
}

func parseLimit(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < -1 {
		return 0, fmt.Errorf("invalid ulimit value: %q is not a number, or -1 for unlimited", text)
	}
	return n, nil
}

// DeviceRate is a parsed limit or weight of a block device.
type DeviceRate struct {
	Path string
	Rate uint64
}

// cutDevice splits PATH:VALUE. The path is below /dev.
func cutDevice(text string) (path, value string, err error) {
	path, value, ok := strings.Cut(text, ":")
	switch {
	case !ok:
		return "", "", fmt.Errorf("bad format: %s", text)
	case !strings.HasPrefix(path, "/dev/"):
		return "", "", fmt.Errorf("bad format for device path: %s", text)
	}
	return path, value, nil
}

// ParseWeightDevice parses PATH:WEIGHT.
func ParseWeightDevice(text string) (DeviceRate, error) {
	path, value, err := cutDevice(text)
	if err != nil {
		return DeviceRate{}, err
	}
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n < 10 || n > 1000 {
		return DeviceRate{}, fmt.Errorf("invalid weight for device: %s", text)
	}
	return DeviceRate{path, n}, nil
}

// ParseDeviceBps parses PATH:NUMBER[UNIT] in bytes per second.
func ParseDeviceBps(text string) (DeviceRate, error) {
	path, value, err := cutDevice(text)
	if err != nil {
		return DeviceRate{}, err
	}
	n, err := ParseSize(value)
	if err != nil || n <= 0 {
		return DeviceRate{}, fmt.Errorf("invalid rate for device: %s. The correct format is "+
			"<device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, "+
			"or gb", text)
	}
	return DeviceRate{path, uint64(n)}, nil
}

// ParseDeviceIOps parses PATH:NUMBER in operations per second.
func ParseDeviceIOps(text string) (DeviceRate, error) {
	path, value, err := cutDevice(text)
	if err != nil {
		return DeviceRate{}, err
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil || n == 0 {
		return DeviceRate{}, fmt.Errorf("invalid rate for device: %s. The correct format is <device-path>:<number>. "+
			"Number must be a positive integer", text)
	}
	return DeviceRate{path, n}, nil
}
