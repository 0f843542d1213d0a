// Package volumedoc converts volumes from and to Docker's form. It performs no I/O. Package volumes uses
// it.
package volumedoc

import (
	"maps"
	"time"

	"github.com/moby/moby/api/types/volume"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// VolumeFromProto returns a volume. The usage is only part of the disk usage.
func VolumeFromProto(v *containerv1.Volume) volume.Volume {
	return volume.Volume{
		CreatedAt:  v.GetCreatedAt().AsTime().Format(time.RFC3339),
		Driver:     v.GetDriver(),
		Labels:     labelsFromProto(v),
		Mountpoint: v.GetMountpoint(),
		Name:       v.GetName(),
		Options:    mapOf(v.GetOptions()),
		Scope:      "local",
	}
}

// anonymousLabel marks the volumes that no user named, as in Docker.
const anonymousLabel = "com.docker.volume.anonymous"

func labelsFromProto(v *containerv1.Volume) map[string]string {
	out := mapOf(v.GetLabels())
	if v.GetAnonymous() {
		out[anonymousLabel] = ""
	}
	return out
}

// mapOf returns a copy, which is empty instead of nil: JSON would show null.
func mapOf(m map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, m)
	return out
}

// CreateToProto returns the request that creates a volume.
func CreateToProto(r volume.CreateRequest) *containerv1.CreateVolumeRequest {
	return &containerv1.CreateVolumeRequest{Name: r.Name, Driver: r.Driver, Options: r.DriverOpts, Labels: r.Labels}
}
