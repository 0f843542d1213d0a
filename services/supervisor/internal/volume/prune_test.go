package volume_test

import (
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

func TestPruneKeepsVolumesWithOptions(t *testing.T) {
	all := volume.Selection{All: true}
	if !all.Includes(&volume.Volume{Name: "data"}) {
		t.Error("a volume without options is not pruned")
	}
	if all.Includes(&volume.Volume{Name: "share", Options: map[string]string{"type": "nfs"}}) {
		t.Error("a volume with options is pruned")
	}
}
