// Package images has the handlers of operations on images and registries.
package images

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/peers"
)

// Handlers are the handlers.
type Handlers struct{ clients peers.Clients }

// New returns the handlers.
func New(clients peers.Clients) *Handlers { return &Handlers{clients} }

// Operations returns the operations.
func (h *Handlers) Operations() []httpapi.Operation {
	return []httpapi.Operation{
		{Method: http.MethodGet, Path: "/images/json", Handle: h.List},
		{Method: http.MethodGet, Path: "/images/search", Handle: h.Search},
		{Method: http.MethodGet, Path: "/images/get", Handle: h.Save},
		{Method: http.MethodPost, Path: "/images/create", Handle: h.Create},
		{Method: http.MethodPost, Path: "/images/load", Handle: h.Load},
		{Method: http.MethodPost, Path: "/images/prune", Handle: h.Prune, Since: apiversion.V(25)},
		{Method: http.MethodGet, Path: "/images/{name...}/json", Handle: h.Inspect},
		{Method: http.MethodGet, Path: "/images/{name...}/history", Handle: h.History},
		{Method: http.MethodGet, Path: "/images/{name...}/attestations", Handle: h.Attestations,
			Since: apiversion.V(55)},
		{Method: http.MethodGet, Path: "/images/{name...}/get", Handle: h.Save},
		{Method: http.MethodPost, Path: "/images/{name...}/push", Handle: h.Push},
		{Method: http.MethodPost, Path: "/images/{name...}/tag", Handle: h.Tag},
		{Method: http.MethodPost, Path: "/commit", Handle: h.Commit},
		{Method: http.MethodDelete, Path: "/images/{name...}", Handle: h.Remove},
		{Method: http.MethodGet, Path: "/distribution/{name...}/json", Handle: h.Distribution, Since: apiversion.V(30)},
	}
}

// referenceOf joins a repository and a tag, which can be a digest. An empty tag means the one in the
// repository, or else latest.
func referenceOf(repository, tag string) (string, error) {
	joined := strings.TrimSuffix(repository, ":")
	switch {
	case strings.Contains(tag, ":"):
		joined += "@" + tag
	case tag != "":
		joined += ":" + tag
	}
	named, err := reference.ParseNormalizedNamed(joined)
	if err != nil {
		return "", httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	return reference.FamiliarString(reference.TagNameOnly(named)), nil
}

// platformOf returns a parameter with a platform as JSON, in the form os/arch[/variant].
func platformOf(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	var p ocispec.Platform
	if err := json.Unmarshal([]byte(text), &p); err != nil || p.OS == "" || p.Architecture == "" {
		return "", httpapi.Errorf(http.StatusBadRequest,
			`failed to parse platform %.200q: write {"os": OS, "architecture": ARCHITECTURE}`, text)
	}
	out := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		out += "/" + p.Variant
	}
	return out, nil
}

// platforms returns the platforms of a parameter that can be repeated. Versions before 1.since ignore
// it.
func platforms(r *httpapi.Request, key string, since int) (out []string, err error) {
	if r.Version.Before(since) {
		return nil, nil
	}
	for _, text := range r.URL.Query()[key] {
		p, err := platformOf(text)
		if err != nil {
			return nil, err
		}
		if p != "" {
			out = append(out, p)
		}
	}
	return out, nil
}

// platform returns the platform of a parameter. Versions before 1.since ignore it.
func platform(r *httpapi.Request, since int) (string, error) {
	all, err := platforms(r, "platform", since)
	if err != nil || len(all) == 0 {
		return "", err
	}
	if len(all) > 1 {
		return "", httpapi.Errorf(http.StatusBadRequest, "only one platform can be given")
	}
	return all[0], nil
}
