package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Sysctl is a kernel parameter with its value: net/ipv4/conf/docker0/route_localnet = 1.
type Sysctl struct {
	Path  string // below /proc/sys, with slashes, as device names may contain dots
	Value string
}

// SysctlError reports a parameter that could not be set.
type SysctlError struct {
	Sysctl
	Err error
}

// Error returns the parameter, the value and the kernel's error.
func (e *SysctlError) Error() string { return fmt.Sprintf("sysctl %s=%s: %v", e.Path, e.Value, e.Err) }

// Unwrap returns the kernel's error.
func (e *SysctlError) Unwrap() error { return e.Err }

func (s Sysctl) write() error {
	if err := os.WriteFile(path.Join("/proc/sys", s.Path), []byte(s.Value), 0); err != nil {
		return &SysctlError{s, errnoOf(err)}
	}
	return nil
}

// errnoOf removes the path from a file error, as the message already contains the parameter.
func errnoOf(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// ReadSysctl reads a network sysctl of the host.
func (h *Host) ReadSysctl(name string) (value string, err error) {
	err = h.inside(func() error {
		value, err = readSysctl(name)
		return err
	})
	return value, err
}

func readSysctl(name string) (string, error) {
	data, err := os.ReadFile(path.Join("/proc/sys", name))
	if err != nil {
		return "", fmt.Errorf("sysctl %s: %w", name, errnoOf(err))
	}
	return strings.TrimSpace(string(data)), nil
}

// ApplySysctls writes network sysctls of the host that have another value and returns the changes.
func (h *Host) ApplySysctls(settings []Sysctl) (changes []string, err error) {
	err = h.inside(func() error {
		for _, s := range settings {
			have, err := readSysctl(s.Path)
			if err != nil {
				return err
			}
			if have == s.Value {
				continue
			}
			if err := s.write(); err != nil {
				return err
			}
			changes = append(changes, fmt.Sprintf("sysctl %s=%s, was %s", s.Path, s.Value, have))
		}
		return nil
	})
	return changes, err
}
