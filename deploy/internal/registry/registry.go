// Package registry serves images on a listener, as Docker Hub's mirror or as a registry of its own, and fails in the ways that
// registries fail when it is told to.
//
// It is for the demo, the stories and the benchmarks; it keeps everything in memory.
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

// Fault is a way to fail.
type Fault string

// The faults. All but the first concern layers; manifests are always served whole.
const (
	None       Fault = "none"
	Unwilling  Fault = "unwilling"  // every answer is 503
	Truncated  Fault = "truncated"  // a layer ends half-way
	Corrupt    Fault = "corrupt"    // a layer has its length, and other bytes
	Forbidding Fault = "forbidding" // every answer is 401
)

// Registry is an http.Handler.
type Registry struct {
	images http.Handler
	fault  atomic.Value
}

// New makes a registry that holds images under names such as "library/nginx:latest".
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

// direct calls a handler without a network between.
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

// Set makes all later answers fail in some way, or no more.
func (r *Registry) Set(f Fault) { r.fault.Store(f) }

// Serve answers on a listener. The server that it gives back is there to be closed, with all its connections.
func (r *Registry) Serve(l net.Listener) io.Closer {
	server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	return server
}

// ServeHTTP answers one request, in the way that Set says.
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

// damaged spoils layers and leaves small blobs, such as an image's configuration, as they are.
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
