package natagent_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// BenchmarkPublish is one publish of one port, from request to answer: port taken, state on disk, translation in the kernel.
// The time is the median, without that of the release in between.
func BenchmarkPublish(b *testing.B) {
	for _, ports := range []int{10, 10000} {
		b.Run(fmt.Sprint(ports), func(b *testing.B) {
			r, _ := fresh(b)
			for first := 10000; first < 10000+ports; first += 10 {
				last := min(first+10, 10000+ports) - 1
				mustPublish(b, r, request(fmt.Sprint(first), "10.0.0.2", "", fmt.Sprintf("%d-%d:1-%d", first, last, last-first+1)))
			}
			ctx, req := context.Background(), request("one", "10.0.0.3", "", "8080:80")
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := r.Publish(ctx, req); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
				if _, err := r.Release(ctx, &natv1.ReleaseRequest{Owner: req.GetOwner()}); err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "ns/op")
		})
	}
}
