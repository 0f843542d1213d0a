// Package registry serves images from memory, as a mirror of Docker Hub or a registry, and can
// simulate failures. The demo, the scripts and the benchmarks use it.
package registry

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Fault is a simulated failure.
type Fault string

// Faults. All but the first apply to layers; manifests are always complete.
const (
	None       Fault = "none"
	Unwilling  Fault = "unwilling"  // every response is 503
	Truncated  Fault = "truncated"  // a layer is truncated
	Corrupt    Fault = "corrupt"    // a layer has the right length and wrong content
	Forbidding Fault = "forbidding" // every response is 401
)

// Registry is an http.Handler.
type Registry struct {
	images http.Handler
	fault  atomic.Value
}

// New returns a registry with images under names such as "library/nginx:latest".
func New(images map[string]v1.Image) (*Registry, error) {
	r := &Registry{images: ggcr.New(ggcr.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)))}
	r.Set(None)
	for at, img := range images {
		ref, err := name.ParseReference("registry.test/"+at, name.Insecure)
		if err != nil {
			return nil, err
		}
		if err := remote.Write(ref, img, remote.WithTransport(direct{r.images})); err != nil {
			return nil, fmt.Errorf("store %s: %w", at, err)
		}
	}

	return r, nil
}

// direct is a round tripper that calls a handler without a network.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	if req.Body == nil {
		req.Body = http.NoBody
	}
	d.handler.ServeHTTP(rec, req)
	res := rec.Result()
	res.Request = req
	return res, nil
}

// Set sets the fault of all later responses.
func (r *Registry) Set(f Fault) { r.fault.Store(f) }

// Serve serves on a listener. The returned server must be closed.
func (r *Registry) Serve(l net.Listener) io.Closer {
	server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	return server
}

// ServeHTTP serves one request with the current fault.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	fault := r.fault.Load().(Fault)
	switch {
	case fault == Unwilling:
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case fault == Forbidding:
		w.Header().Set("WWW-Authenticate", `Basic realm="registry.test"`)
		http.Error(w, "who are you", http.StatusUnauthorized)
	case fault == None || req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/blobs/"):
		r.images.ServeHTTP(w, req)
	default:
		r.damaged(w, req, fault)
	}
}

// damaged reports whether a blob is a layer and not a small blob such as a configuration.
func (r *Registry) damaged(w http.ResponseWriter, req *http.Request, fault Fault) {
	rec := httptest.NewRecorder()
	r.images.ServeHTTP(rec, req)
	data := rec.Body.Bytes()
	for key, values := range rec.Header() {
		w.Header()[key] = values
	}

	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	w.WriteHeader(rec.Code)
	if len(data) > 4096 && fault == Truncated {
		_, _ = w.Write(data[:len(data)/2])
		panic(http.ErrAbortHandler) // cuts the connection
	}
	if len(data) > 4096 && fault == Corrupt {
		data = bytes.Clone(data)
		data[len(data)-1] ^= 0xff
	}

	_, _ = w.Write(data)
}
