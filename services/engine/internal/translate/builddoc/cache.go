// Package builddoc translates requests and results of builds. It performs no I/O.
package builddoc

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/build"

	"github.com/fairlead/fairlead/services/engine/internal/buildkit"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// RecordOf returns the document of a record of the build cache.
func RecordOf(r buildkit.Record) build.CacheRecord {
	out := build.CacheRecord{ID: r.ID, Parents: r.Parents, Type: r.Type, Description: r.Description, InUse: r.InUse,
		Shared: r.Shared, Size: r.Size, CreatedAt: r.Created, UsageCount: r.UsageCount}
	if !r.LastUsed.IsZero() {
		out.LastUsedAt = &r.LastUsed
	}
	return out
}

// PruneKeys returns the keys of filters of a prune.
func PruneKeys() []string {
	return []string{"until", "unused-for", "id", "parent", "type", "description", "inuse", "shared", "private"}
}

// PruneOf returns the selection of a prune.
func PruneOf(filters httpapi.Filters, query url.Values, all bool, now time.Time) (buildkit.Prune, error) {
	out := buildkit.Prune{All: all}
	for _, size := range []struct {
		keys []string // the second one is of older clients
		to   *int64
	}{
		{[]string{"reserved-space", "keep-storage"}, &out.ReservedSpace}, {[]string{"max-used-space"}, &out.MaxUsed},
		{[]string{"min-free-space"}, &out.MinFree},
	} {
		for _, key := range size.keys {
			text := query.Get(key)
			if text == "" {
				continue
			}
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return out, httpapi.Errorf(http.StatusBadRequest, "%s is invalid: %.100q is not a number", key, text)
			}
			*size.to = n
		}
	}

	for _, key := range PruneKeys() {
		value, err := filters.One(key)
		if err != nil || value == "" {
			if err != nil {
				return out, err
			}
			continue
		}
		switch key {
		case "until", "unused-for":
			t, err := httpapi.ParseTime(value, now)
			if err != nil {
				return out, err
			}
			out.Unused = now.Sub(t)
		case "id":
			out.Filters = append(out.Filters, key+"~="+value)
		case "inuse", "shared", "private":
			out.Filters = append(out.Filters, key)
		default:
			out.Filters = append(out.Filters, key+"=="+value)
		}
	}
	return out, nil
}
