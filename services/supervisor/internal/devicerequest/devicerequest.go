// Package devicerequest defines requests for devices that specifications of the host describe: those of
// --gpus, and names of CDI, the Container Device Interface, in --device. It performs no I/O: package cdi
// reads the specifications. Package container uses it.
package devicerequest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// CDI is the driver of requests for devices by their names.
const CDI = "cdi"

// All is the count of a request for all devices.
const All = -1

// Request is a request for devices.
type Request struct {
	Driver       string     `json:",omitempty"` // CDI, a vendor of GPUs, or empty for any vendor
	Count        int        `json:",omitempty"` // number of devices, or All
	IDs          []string   `json:",omitempty"` // names of devices; with CDI VENDOR/CLASS=NAME
	Capabilities [][]string `json:",omitempty"` // alternatives; each must have gpu, without CDI
}

// vendors are the vendors of GPUs by driver.
func vendors() map[string]string { return map[string]string{"nvidia": "nvidia.com", "amd": "amd.com"} }

// Vendor returns the vendor of a driver's GPUs; empty means any.
func (r Request) Vendor() string { return vendors()[r.Driver] }

// capabilities lists those of GPUs. A specification of CDI provides all of them.
func capabilities() []string {
	return []string{"gpu", "nvidia", "amd", "compute", "compat32", "graphics", "utility", "video", "display", "ngx"}
}

// Validate checks a request. The subject names the container.
func (r Request) Validate(subject string) error {
	refuse := func(hint, format string, args ...any) error {
		return fault.New(fault.Invalid, subject, fmt.Sprintf(format, args...), fault.WithField("device"),
			fault.WithHint("%s", hint))
	}

	switch {
	case r.Count != 0 && len(r.IDs) > 0:
		return refuse("name the devices, or give their number", "cannot set both Count and DeviceIDs on device request")
	case r.Count < All:
		return refuse("give a number, or -1 for all", "invalid count of devices: %d", r.Count)
	case r.Driver == CDI:
		for _, name := range r.IDs {
			if _, _, err := Parse(name); err != nil {
				return refuse("write VENDOR/CLASS=NAME", "%s", err)
			}
		}
		if len(r.IDs) == 0 {
			return refuse("name them as VENDOR/CLASS=NAME", "a device request of the driver cdi names no devices")
		}
		return nil
	case r.Driver != "" && r.Vendor() == "" || !r.isForGPUs():
		return r.NoDriver(subject, "request the capability gpu, or name devices with --device VENDOR/CLASS=NAME")
	}
	return nil
}

// isForGPUs reports whether one of the alternatives can be met by GPUs.
func (r Request) isForGPUs() bool {
	return slices.ContainsFunc(r.Capabilities, func(all []string) bool {
		return slices.Contains(all, "gpu") &&
			!slices.ContainsFunc(all, func(c string) bool { return !slices.Contains(capabilities(), c) })
	})
}

// NoDriver returns the fault for a request that nothing on the host can meet. causes may explain why.
func (r Request) NoDriver(subject, hint string, causes ...error) error {
	return fault.New(fault.Invalid, subject,
		fmt.Sprintf("could not select device driver %q with capabilities: %v", r.Driver, r.Capabilities),
		fault.WithField("gpus"), fault.WithCause(errors.Join(causes...)), fault.WithHint("%s", hint))
}

// Parse parses the name of a device, VENDOR/CLASS=NAME, into its kind VENDOR/CLASS and name.
func Parse(text string) (kind, name string, err error) {
	kind, name, ok := strings.Cut(text, "=")
	if !ok || !isName(name, "_-.:") {
		return "", "", fmt.Errorf("invalid CDI device name %q", text)
	}
	if err := CheckKind(kind); err != nil {
		return "", "", err
	}
	return kind, name, nil
}

// CheckKind checks a kind of devices, VENDOR/CLASS.
func CheckKind(kind string) error {
	vendor, class, ok := strings.Cut(kind, "/")
	if !ok || !startsWithLetter(vendor) || !isName(vendor, "_-.") || !startsWithLetter(class) || !isName(class, "_-.") {
		return fmt.Errorf("invalid CDI device kind %q", kind)
	}
	return nil
}

// CheckName checks the name of a device in a specification.
func CheckName(name string) error {
	if !isName(name, "_-.:") {
		return fmt.Errorf("invalid CDI device name %q", name)
	}
	return nil
}

func startsWithLetter(s string) bool { return s != "" && isLetter(rune(s[0])) }

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

func isAlphanumeric(r rune) bool { return isLetter(r) || r >= '0' && r <= '9' }

// isName reports whether text consists of letters, digits and the given other characters, and starts
// and ends with a letter or digit.
func isName(text, others string) bool {
	if text == "" || !isAlphanumeric(rune(text[0])) || !isAlphanumeric(rune(text[len(text)-1])) {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		return !isAlphanumeric(r) && !strings.ContainsRune(others,
			r)
	})
}
