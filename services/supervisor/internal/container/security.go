package container

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/devicerequest"
)

// Security holds the privileges of a container.
type Security struct {
	Privileged  bool     `json:",omitempty"`
	CapAdd      []string `json:",omitempty"` // with or without CAP_, or ALL
	CapDrop     []string `json:",omitempty"`
	Options     []string `json:",omitempty"` // --security-opt; a seccomp profile is its content
	Devices     []Device `json:",omitempty"`
	DeviceRules []string `json:",omitempty"` // as "c 10:* rwm"
	Groups      []string `json:",omitempty"` // names or IDs of supplementary groups
	ReadOnly    bool     `json:",omitempty"` // of the root file system

	DeviceRequests []devicerequest.Request `json:",omitempty"`
}

// Device is a device of the host in a container.
type Device struct {
	HostPath, ContainerPath string
	Permissions             string // of r, w and m
}

// SecurityOptions are the parsed values of --security-opt.
type SecurityOptions struct {
	NoNewPrivileges *bool
	Seccomp         string // Unconfined, Builtin, or a profile; empty: the agent's default
	AppArmor        string // name of a profile, or Unconfined
	Labels          []string
	SystemPaths     string // Unconfined, or empty for Docker's masked paths
}

// Values of security options.
const (
	Unconfined = "unconfined"
	Builtin    = "builtin"
)

// ParseSecurityOptions parses --security-opt. The last value of an option applies.
func ParseSecurityOptions(subject string, options []string) (SecurityOptions, error) {
	var out SecurityOptions
	for _, text := range options {
		refuse := fault.New(fault.Invalid, subject, "invalid --security-opt: "+strconv.Quote(shorten(text)),
			fault.WithField("security-opt"),
			fault.WithHint("the options are no-new-privileges, seccomp=, apparmor=, label= and systempaths="))
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			key, value, ok = strings.Cut(text, ":") // the older form
		}

		switch {
		case key == "no-new-privileges":
			set, err := strconv.ParseBool(value)
			if ok && err != nil {
				return out, refuse
			}
			set = set || !ok
			out.NoNewPrivileges = &set
		case !ok || value == "":
			return out, refuse
		case key == "seccomp":
			out.Seccomp = value
		case key == "apparmor":
			out.AppArmor = value
		case key == "label":
			out.Labels = append(out.Labels, value)
		case key == "systempaths" && value == Unconfined:
			out.SystemPaths = value
		default:
			return out, refuse
		}
	}
	return out, nil
}

// shorten limits a text for a message: a security option can be a whole profile.
func shorten(text string) string {
	if len(text) > 80 {
		return strings.ToValidUTF8(text[:80], "") + "…"
	}
	return text
}

// deviceRule matches a rule of --device-cgroup-rule.
var deviceRule = regexp.MustCompile(`^([acb]) ([0-9]{1,9}|\*):([0-9]{1,9}|\*) ([rwm]{1,3})$`)

// DeviceRule is a parsed --device-cgroup-rule. -1 means any number.
type DeviceRule struct {
	Type         string
	Major, Minor int64
	Access       string
}

// ParseDeviceRule parses a rule such as "c 10:* rwm".
func ParseDeviceRule(text string) (DeviceRule, bool) {
	m := deviceRule.FindStringSubmatch(text)
	if m == nil {
		return DeviceRule{}, false
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	return DeviceRule{Type: m[1], Major: number(m[2]), Minor: number(m[3]), Access: m[4]}, true
}

// maxGroupsAdded bounds --group-add; the kernel's limit is 65536.
const maxGroupsAdded = 1024

func (c *Config) validateSecurity() error {
	s, subject := &c.Security, c.subject()
	if err := validateCapabilities(subject, "cap-add", s.CapAdd); err != nil {
		return err
	}
	if err := validateCapabilities(subject, "cap-drop", s.CapDrop); err != nil {
		return err
	}
	if _, err := ParseSecurityOptions(subject, s.Options); err != nil {
		return err
	}

	for _, rule := range s.DeviceRules {
		if _, ok := ParseDeviceRule(rule); !ok {
			return fault.Invalidf(subject, "device-cgroup-rule", "invalid device cgroup format '%s'", shorten(rule))
		}
	}
	for _, group := range s.Groups {
		if group == "" || strings.ContainsAny(group, ":\n\x00") {
			return fault.Invalidf(subject, "group-add", "%q is not a group name or ID", shorten(group))
		}
	}
	if len(s.Groups) > maxGroupsAdded {
		return fault.Invalidf(subject, "group-add", "at most %d groups are allowed", maxGroupsAdded)
	}
	for _, r := range s.DeviceRequests {
		if err := r.Validate(subject); err != nil {
			return err
		}
	}
	return c.validateDevices()
}

func (c *Config) validateDevices() error {
	for _, d := range c.Security.Devices {
		text := d.HostPath + ":" + d.ContainerPath + ":" + d.Permissions
		switch {
		case !path.IsAbs(d.HostPath) || strings.ContainsRune(text, 0):
			return fault.Invalidf(c.subject(), "device", "%s is not an absolute path", d.HostPath)
		case !strings.HasPrefix(path.Clean(d.ContainerPath), "/dev/"):
			// A runtime follows the links of an image elsewhere.
			return fault.New(fault.Invalid, c.subject(), "device "+d.HostPath+" cannot be created at "+d.ContainerPath,
				fault.WithField("device"), fault.WithHint("use a path below /dev"))
		case d.Permissions == "" || strings.Trim(d.Permissions, "rwm") != "" || len(d.Permissions) > 3:
			return fault.Invalidf(c.subject(), "device", "bad mode specified: %s", d.Permissions)
		}
	}
	return nil
}
