package containerflags

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/internal/limitspec"
	"github.com/fairlead/fairlead/ctl/internal/networkspec"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Security holds the flags of privileges and namespaces.
type Security struct {
	security            containerv1.Security
	namespaces          containerv1.Namespaces
	options, annotation []string
	init                bool
	logDriver           string
	logOptions          []string
}

// Add adds the flags to a flag set.
func (o *Security) Add(f *pflag.FlagSet) {
	s, n := &o.security, &o.namespaces
	f.BoolVar(&s.Privileged, "privileged", false, "Give all capabilities and devices of the host")
	f.StringArrayVar(&s.CapAdd, "cap-add", nil, "Add a capability, such as NET_ADMIN, or ALL")
	f.StringArrayVar(&s.CapDrop, "cap-drop", nil, "Drop a capability, or ALL")
	f.StringArrayVar(&o.options, "security-opt", nil, "Security option (see above)")
	f.Var(&value{kind: "list", parse: o.addDevice}, "device",
		"Add a host device: PATH[:CONTAINER_PATH][:rwm], or\nVENDOR/CLASS=NAME (CDI)")
	f.Var(&value{kind: "gpu-request", parse: o.addGPUs}, "gpus",
		"Add GPUs described by CDI: all, a number, or device=ID")
	f.Var(&value{kind: "list", parse: o.addDeviceRule}, "device-cgroup-rule", "Allow devices: \"TYPE MAJOR:MINOR rwm\"")
	f.StringArrayVar(&s.Groups, "group-add", nil, "Add a supplementary group: name or ID")
	f.BoolVar(&s.ReadOnly, "read-only", false, "Mount the root file system read-only")
	f.StringVar(&n.Ipc, "ipc", "", "IPC namespace: none, private, shareable, host or container:NAME")
	f.StringVar(&n.Pid, "pid", "", "PID namespace: host or container:NAME")
	f.StringVar(&n.Cgroup, "cgroupns", "", "Cgroup namespace: host or private")
	f.StringVar(&n.User, "userns", "", "User namespace: host")
	f.StringVar(&n.CgroupParent, "cgroup-parent", "", "Parent of the container's cgroup")
	f.BoolVar(&o.init, "init", false, "Run an init process that reaps processes")
	f.StringVar(&o.logDriver, "log-driver", "", "Log driver: json-file, local, journald or none")
	f.StringArrayVar(&o.logOptions, "log-opt", nil, "Log option: max-size=SIZE, max-file=NUMBER or tag=TEMPLATE")
	f.StringArrayVar(&o.annotation, "annotation", nil, "Set an annotation for the OCI runtime: KEY[=VALUE]")
}

func (o *Security) addGPUs(text string) error {
	g, err := limitspec.ParseGPUs(text)
	if err == nil {
		o.security.DeviceRequests = append(o.security.DeviceRequests, &containerv1.DeviceRequest{Driver: g.Driver,
			Count: int32(g.Count), DeviceIds: g.IDs,
			Capabilities: []*containerv1.Capabilities{{Names: append(g.Capabilities, "gpu")}}})
	}
	return err
}

func (o *Security) addDevice(text string) error {
	if limitspec.IsDeviceName(text) {
		o.security.DeviceRequests = append(o.security.DeviceRequests,
			&containerv1.DeviceRequest{Driver: "cdi", DeviceIds: []string{text}})
		return nil
	}
	d, err := limitspec.ParseDevice(text)
	if err == nil {
		o.security.Devices = append(o.security.Devices, &containerv1.Device{HostPath: d.HostPath,
			ContainerPath: d.ContainerPath, Permissions: d.Permissions})
	}
	return err
}

func (o *Security) addDeviceRule(text string) error {
	o.security.DeviceCgroupRules = append(o.security.DeviceCgroupRules, text)
	return limitspec.CheckDeviceRule(text)
}

// Apply adds the privileges to a configuration.
func (o *Security) Apply(f *pflag.FlagSet, cfg *containerv1.ContainerConfig) error {
	for _, text := range o.options {
		option, err := securityOption(text)
		if err != nil {
			return err
		}
		o.security.Options = append(o.security.Options, option)
	}
	if proto.Size(&o.security) > 0 {
		cfg.Security = &o.security
	}
	if proto.Size(&o.namespaces) > 0 {
		cfg.Namespaces = &o.namespaces
	}
	if f.Changed("init") {
		cfg.Init = &o.init
	}

	options, err := networkspec.ParseKeyValues("log-opt", o.logOptions)
	if o.logDriver != "" || len(options) > 0 {
		cfg.Log = &containerv1.LogConfig{Driver: o.logDriver, Options: options}
	}
	cfg.Annotations = limitspec.Annotations(o.annotation)
	return err
}

// securityOption replaces the file of a seccomp profile by its content.
func securityOption(text string) (string, error) {
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		key, value, ok = strings.Cut(text, ":") // the older form
	}
	if !ok && key != "no-new-privileges" {
		return "", fault.Invalidf("--security-opt "+text, "security-opt", "Invalid --security-opt: %q", text)
	}
	if key != "seccomp" || value == "unconfined" || value == "builtin" {
		return text, nil
	}

	profile, err := os.ReadFile(value)
	if err != nil {
		return "", fault.New(fault.Invalid, "--security-opt "+text, fmt.Sprintf("opening seccomp profile (%s) failed",
			value), fault.WithField("security-opt"), fault.WithCause(err))
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, profile); err != nil {
		return "", fault.New(fault.Invalid, "--security-opt "+text,
			fmt.Sprintf("compacting json for seccomp profile (%s) failed", value), fault.WithField("security-opt"),
			fault.WithCause(err))
	}
	return key + "=" + compact.String(), nil
}
