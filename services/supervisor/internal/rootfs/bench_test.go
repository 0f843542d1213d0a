package rootfs_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs/testmnt"
)

// BenchmarkMount measures mounting a new root file system, without its removal.
func BenchmarkMount(b *testing.B) {
	for _, n := range []int{1, 5, 120} {
		b.Run(fmt.Sprintf("layers=%d", n), func(b *testing.B) {
			testmnt.Do(b, func() {
				dir := b.TempDir()
				var lowers []string
				for i := range n {
					lowers = append(lowers, layer(b, filepath.Join(dir, "layers", fmt.Sprintf("%064d", i), "fs"),
						map[string]string{"f": "x"}))
				}

				r := rootfs.New(filepath.Join(dir, "containers"))
				for b.Loop() {
					uid := id.New()
					mount(b, r, uid, lowers)
					b.StopTimer()
					if err := r.Remove(uid); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		})
	}
}
