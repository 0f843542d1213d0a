package images

import (
	"net/http"
	"strconv"

	"github.com/moby/moby/api/types/registry"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// searchLimit is the number of results if the client gives none.
const searchLimit = 25

// Search serves GET /images/search.
func (h *Handlers) Search(w http.ResponseWriter, r *httpapi.Request) error {
	filters, err := r.Filters("is-official", "is-automated", "stars")
	if err != nil {
		return err
	}
	matches, err := searchMatcher(filters)
	if err != nil {
		return err
	}
	limit, err := r.Int("limit", searchLimit)
	if err != nil || limit < 0 {
		return httpapi.Errorf(http.StatusBadRequest, "invalid limit specified")
	}

	found, err := h.clients.Images.SearchImages(r.Context(), &containerv1.SearchImagesRequest{Term: r.Query("term"),
		Limit: int32(min(limit, 100)), Credentials: credentials(r)})
	if err != nil {
		return err
	}
	out := []registry.SearchResult{}
	for _, i := range found.GetImages() {
		result := registry.SearchResult{StarCount: int(i.GetStars()), IsOfficial: i.GetOfficial(), Name: i.GetName(),
			Description: i.GetDescription()}
		if matches(result) {
			out = append(out, result)
		}
	}
	return httpapi.WriteJSON(w, http.StatusOK, out)
}

// searchMatcher returns a function that reports whether a result matches filters. No result is
// automated, as in Docker since API 1.45.
func searchMatcher(filters httpapi.Filters) (func(registry.SearchResult) bool, error) {
	official, err := filters.Bool("is-official")
	if err != nil {
		return nil, err
	}
	automated, err := filters.Bool("is-automated")
	if err != nil {
		return nil, err
	}

	stars := 0
	for _, text := range filters["stars"] {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, httpapi.Errorf(http.StatusBadRequest, "invalid filter 'stars=%.100s'", text)
		}
		stars = max(stars, n)
	}

	return func(r registry.SearchResult) bool {
		return (official == nil || *official == r.IsOfficial) && (automated == nil || !*automated) &&
			r.StarCount >= stars
	}, nil
}
