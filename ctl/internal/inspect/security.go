package inspect

import (
	"cmp"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// DeviceMapping is a device of the host in a container.
type DeviceMapping struct {
	PathOnHost        string
	PathInContainer   string
	CgroupPermissions string
}

// DeviceRequest is a request for devices that CDI describes.
type DeviceRequest struct {
	Driver       string
	Count        int
	DeviceIDs    []string
	Capabilities [][]string
	Options      map[string]string // always empty
}

// Security holds the privileges and namespaces of a container.
type Security struct {
	Privileged        bool
	ReadonlyRootfs    bool
	CapAdd            []string
	CapDrop           []string
	SecurityOpt       []string
	GroupAdd          []string
	Devices           []DeviceMapping
	DeviceCgroupRules []string
	DeviceRequests    []DeviceRequest // null without one
	Init              *bool
	Annotations       map[string]string `json:",omitempty"`
	PidMode           string
	IpcMode           string
	CgroupnsMode      string
	UsernsMode        string
	CgroupParent      string
	Cgroup            string // always empty
}

func securityOf(cfg *containerv1.ContainerConfig) Security {
	s, n := cfg.GetSecurity(), cfg.GetNamespaces()
	out := Security{
		Privileged: s.GetPrivileged(), ReadonlyRootfs: s.GetReadOnly(), CapAdd: s.GetCapAdd(), CapDrop: s.GetCapDrop(),
		SecurityOpt: s.GetOptions(), GroupAdd: s.GetGroups(), Devices: []DeviceMapping{},
		DeviceCgroupRules: s.GetDeviceCgroupRules(), Annotations: cfg.GetAnnotations(),
		PidMode: n.GetPid(), IpcMode: cmp.Or(n.GetIpc(), "private"), CgroupnsMode: n.GetCgroup(),
		UsernsMode: n.GetUser(), CgroupParent: n.GetCgroupParent(),
	}
	if cfg != nil {
		out.Init = cfg.Init
	}
	for _, d := range s.GetDevices() {
		out.Devices = append(out.Devices, DeviceMapping{d.GetHostPath(), d.GetContainerPath(), d.GetPermissions()})
	}
	for _, r := range s.GetDeviceRequests() {
		request := DeviceRequest{Driver: r.GetDriver(), Count: int(r.GetCount()), DeviceIDs: r.GetDeviceIds(),
			Options: map[string]string{}}
		for _, c := range r.GetCapabilities() {
			request.Capabilities = append(request.Capabilities, c.GetNames())
		}
		out.DeviceRequests = append(out.DeviceRequests, request)
	}
	return out
}
