package volumedoc_test

import (
	"testing"

	"github.com/moby/moby/api/types/volume"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apitest"
	"github.com/fairlead/fairlead/services/engine/internal/translate/volumedoc"
)

func TestVolume(t *testing.T) {
	v := &containerv1.Volume{}
	apitest.ReadMessage(t, "volume.json", v)
	apitest.Golden(t, "volume", volumedoc.VolumeFromProto(v))
	apitest.Validate(t, "GET /volumes/{name}", 200, volumedoc.VolumeFromProto(v))

	v.Anonymous, v.Labels, v.Options = true, nil, nil
	apitest.Golden(t, "anonymous", volumedoc.VolumeFromProto(v))
}

func TestCreateRequest(t *testing.T) {
	apitest.Golden(t, "create", volumedoc.CreateToProto(volume.CreateRequest{Name: "data", Driver: "local",
		DriverOpts: map[string]string{"type": "tmpfs"}, Labels: map[string]string{"a": "b"}}))
}
