package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// Whatever containers and volumes are created and removed, no volume in use is removed, and its users
// are named.
func TestNoVolumeInUseIsRemovable(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, err := Open(t.TempDir())
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		if _, err := s.AddImages(&Image{ID: "sha256:1"}); err != nil {
			rt.Fatal(err)
		}

		used := map[string][]string{} // volume to containers
		name := rapid.SampledFrom([]string{"va", "vb", "vc"})
		owner := rapid.SampledFrom([]string{"c1", "c2", "c3"})
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				uid, vol := owner.Draw(rt, "container"), name.Draw(rt, "volume")
				c := &container.Container{ID: uid, ImageID: "sha256:1", Config: container.Config{Name: uid,
					AutoRemove: rapid.Bool().Draw(rt, "rm"), Mounts: []container.Mount{{Type: container.VolumeMount,
						Source: vol, Target: "/x", Anonymous: rapid.Bool().Draw(rt, "anonymous")}}}}
				v := &volume.Volume{Name: vol, CreatedAt: time.Unix(0, 0)}
				_, err := s.AddContainerWithVolumes(c, []*volume.Volume{v})
				if err == nil {
					used[vol] = append(used[vol], uid)
				} else if !fault.Is(err, fault.Exists) && !fault.Is(err, fault.Conflict) {
					rt.Fatal(err)
				}
			},
			"remove container": func(rt *rapid.T) {
				uid := owner.Draw(rt, "container")
				if err := s.DeleteContainer(uid); err != nil {
					rt.Fatal(err)
				}
				for vol := range used {
					used[vol] = slices.DeleteFunc(used[vol], func(s string) bool { return s == uid })
				}
			},
			"remove volume": func(rt *rapid.T) {
				vol := name.Draw(rt, "volume")
				err := s.MarkVolume(vol)
				if len(used[vol]) > 0 && !fault.Is(err, fault.Busy) {
					rt.Fatalf("%s is used by %v: got %v", vol, used[vol], err)
				}
			},
			"prune":  func(rt *rapid.T) { _, _ = s.MarkVolumes(func(*volume.Volume) bool { return true }) },
			"finish": func(rt *rapid.T) { _ = s.DeleteVolume(name.Draw(rt, "volume")) },
			"": func(rt *rapid.T) {
				for vol, users := range used {
					if len(users) == 0 {
						continue
					}
					v, err := s.GetVolume(vol)
					if err != nil || v.Removing {
						rt.Fatalf("%s is used by %v: got %+v, %v", vol, users, v, err)
					}
					got := slices.Sorted(slices.Values(s.VolumeUsers(vol)))
					if fmt.Sprint(got) != fmt.Sprint(slices.Sorted(slices.Values(users))) {
						rt.Fatalf("%s: got users %v, want %v", vol, got, users)
					}
				}
			},
		})
	})
}
