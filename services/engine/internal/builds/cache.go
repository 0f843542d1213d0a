package builds

import (
	"context"
	"net/http"
	"time"

	"github.com/moby/moby/api/types/build"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/engine/internal/buildkit"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/builddoc"
)

// Prune serves POST /build/prune, which the prune of the system calls too.
func (h *Handlers) Prune(w http.ResponseWriter, r *httpapi.Request) error {
	filters, err := r.Filters(builddoc.PruneKeys()...)
	if err != nil {
		return err
	}
	selection, err := builddoc.PruneOf(filters, r.URL.Query(), r.Bool("all"), time.Now())
	if err != nil {
		return err
	}

	report := build.CachePruneReport{CachesDeleted: []string{}}
	err = h.withCache(r.Context(), func(bk *buildkit.BuildKit) error {
		removed, err := bk.Prune(r.Context(), selection)
		for _, record := range removed {
			report.CachesDeleted = append(report.CachesDeleted, record.ID)
			report.SpaceReclaimed += uint64(max(record.Size, 0))
		}
		return err
	})
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, report)
}

// Cache returns the records of the build cache.
func (h *Handlers) Cache(ctx context.Context) (out []build.CacheRecord, err error) {
	err = h.withCache(ctx, func(bk *buildkit.BuildKit) error {
		records, err := bk.Usage(ctx)
		for _, record := range records {
			out = append(out, builddoc.RecordOf(record))
		}
		return err
	})
	return out, err
}

// withCache calls f with BuildKit, unless it never ran: there is no cache then. It does not run without
// its programs either.
func (h *Handlers) withCache(ctx context.Context, f func(*buildkit.BuildKit) error) error {
	bk, err := h.gateway.Open(ctx, true)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Busy) {
		return nil
	}
	if err != nil {
		return err
	}
	defer bk.Close()
	return f(bk)
}
