package builddoc_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/services/engine/internal/buildkit"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/builddoc"
)

func TestPruneOf(t *testing.T) {
	now := time.Unix(1000000, 0)
	filters, err := httpapi.ParseFilters(`{"until":["24h"],"id":{"abc":true},"type":["regular"],"shared":["true"]}`,
		builddoc.PruneKeys()...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := builddoc.PruneOf(filters, url.Values{"keep-storage": {"5"}, "max-used-space": {"7"}}, true, now)
	want := buildkit.Prune{All: true, Unused: 24 * time.Hour, ReservedSpace: 5, MaxUsed: 7,
		Filters: []string{"id~=abc", "type==regular", "shared"}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, bad := range []url.Values{{"filters": {`{"until":["yesterday"]}`}}, {"filters": {`{"id":["a","b"]}`}},
		{"min-free-space": {"much"}}} {
		filters, err := httpapi.ParseFilters(bad.Get("filters"), builddoc.PruneKeys()...)
		if err == nil {
			_, err = builddoc.PruneOf(filters, bad, false, now)
		}
		if err == nil {
			t.Errorf("%v: got no error", bad)
		}
	}
}

func TestRecordOf(t *testing.T) {
	used := time.Unix(7, 0)
	got := builddoc.RecordOf(buildkit.Record{ID: "a", Type: "regular", Size: 3, LastUsed: used, UsageCount: 2})
	if got.ID != "a" || got.Size != 3 || got.LastUsedAt == nil || !got.LastUsedAt.Equal(used) || got.UsageCount != 2 {
		t.Errorf("got %+v", got)
	}
	if got := builddoc.RecordOf(buildkit.Record{}); got.LastUsedAt != nil {
		t.Errorf("got %v for a record that was never used", got.LastUsedAt)
	}
}
