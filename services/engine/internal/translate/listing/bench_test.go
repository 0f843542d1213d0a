package listing_test

import (
	"encoding/json"
	"testing"
	"time"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/translate/listing"
)

// BenchmarkList converts 1,300 containers and encodes them.
func BenchmarkList(b *testing.B) {
	c := containers()[1]
	list := make([]*containerv1.Container, 1300)
	for i := range list {
		list[i] = c
	}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		rows := make([]listing.Row, 0, len(list))
		for _, c := range list {
			rows = append(rows, listing.FromProto(c, nil, now, apiversion.Max))
		}
		if _, err := json.Marshal(rows); err != nil {
			b.Fatal(err)
		}
	}
}
