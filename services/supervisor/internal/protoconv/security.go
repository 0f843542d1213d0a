package protoconv

import (
	"cmp"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/devicerequest"
)

// SecurityFromProto converts the privileges of a container.
func SecurityFromProto(in *containerv1.Security) container.Security {
	out := container.Security{Privileged: in.GetPrivileged(), CapAdd: in.GetCapAdd(), CapDrop: in.GetCapDrop(),
		Options: in.GetOptions(), DeviceRules: in.GetDeviceCgroupRules(), Groups: in.GetGroups(),
		ReadOnly: in.GetReadOnly()}
	for _, d := range in.GetDevices() {
		out.Devices = append(out.Devices, container.Device{HostPath: d.GetHostPath(),
			ContainerPath: d.GetContainerPath(), Permissions: cmp.Or(d.GetPermissions(), "rwm")})
	}
	for _, r := range in.GetDeviceRequests() {
		request := devicerequest.Request{Driver: r.GetDriver(), Count: int(r.GetCount()), IDs: r.GetDeviceIds()}
		for _, c := range r.GetCapabilities() {
			request.Capabilities = append(request.Capabilities, c.GetNames())
		}
		out.DeviceRequests = append(out.DeviceRequests, request)
	}
	return out
}

func securityToProto(s container.Security) *containerv1.Security {
	out := &containerv1.Security{Privileged: s.Privileged, CapAdd: s.CapAdd, CapDrop: s.CapDrop, Options: s.Options,
		DeviceCgroupRules: s.DeviceRules, Groups: s.Groups, ReadOnly: s.ReadOnly}
	for _, d := range s.Devices {
		out.Devices = append(out.Devices, &containerv1.Device{HostPath: d.HostPath, ContainerPath: d.ContainerPath,
			Permissions: d.Permissions})
	}
	for _, r := range s.DeviceRequests {
		request := &containerv1.DeviceRequest{Driver: r.Driver, Count: int32(r.Count), DeviceIds: r.IDs}
		for _, names := range r.Capabilities {
			request.Capabilities = append(request.Capabilities, &containerv1.Capabilities{Names: names})
		}
		out.DeviceRequests = append(out.DeviceRequests, request)
	}
	return out
}

// NamespacesFromProto converts the namespace modes of a container.
func NamespacesFromProto(in *containerv1.Namespaces) container.Namespaces {
	return container.Namespaces{IPC: in.GetIpc(), PID: in.GetPid(), Cgroup: in.GetCgroup(), User: in.GetUser(),
		CgroupParent: in.GetCgroupParent()}
}

func namespacesToProto(n container.Namespaces) *containerv1.Namespaces {
	return &containerv1.Namespaces{Ipc: n.IPC, Pid: n.PID, Cgroup: n.Cgroup, User: n.User,
		CgroupParent: n.CgroupParent}
}
