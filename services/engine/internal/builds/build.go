package builds

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/fairlead/fairlead/services/engine/internal/buildcontext"
	"github.com/fairlead/fairlead/services/engine/internal/buildkit"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/authheader"
	"github.com/fairlead/fairlead/services/engine/internal/translate/builddoc"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"
)

// Build serves POST /build, for clients without BuildKit.
func (h *Handlers) Build(w http.ResponseWriter, r *httpapi.Request) error {
	o, err := builddoc.OptionsOf(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if o.ID != "" {
		defer h.running(o.ID, cancel)()
	}

	build := buildkit.Build{Attrs: o.Attrs, Tags: o.Tags, HostNetwork: o.HostNetwork, Session: o.Session,
		Credentials: authheader.All(r.Header)}
	if o.Session == "" && o.Remote == "" {
		files, err := readContext(w, r)
		if err != nil {
			return err
		}
		defer func() { _ = files.Close() }()
		build.Context = files
	}
	bk, err := h.gateway.Open(ctx, false)
	if err != nil {
		return err
	}
	defer bk.Close()
	h.build(ctx, bk, build, o, &lines{w: w})
	return nil
}

// build builds and writes the progress.
func (h *Handlers) build(ctx context.Context, bk *buildkit.BuildKit, build buildkit.Build, o builddoc.Options,
	out *lines) {
	var progress builddoc.Progress
	id, err := h.gateway.Build(ctx, bk, build, func(s buildkit.Status) {
		shown := progress.Add(s)
		switch {
		case o.Trace:
			out.write(builddoc.Trace(s))
		case !o.Quiet:
			out.write(shown...)
		}
	})
	switch {
	case err != nil && ctx.Err() != nil:
		out.write(imagedoc.Failure("Build cancelled"))
	case err != nil && o.Trace:
		out.write(imagedoc.Failure(err.Error()))
	case err != nil:
		out.write(progress.Failed(err))
	case o.Trace:
		out.write(builddoc.TracedID(id))
	case o.Quiet:
		out.write(imagedoc.Stream(id + "\n"))
	default:
		out.write(builddoc.Built(id, build.Tags)...)
	}
}

// readContext reads the body, which is an archive.
func readContext(w http.ResponseWriter, r *httpapi.Request) (*buildcontext.Context, error) {
	in, out := io.Pipe()
	go func() {
		out.CloseWithError(httpapi.Upload(w, r, func(piece []byte) error {
			_, err := out.Write(piece)
			return err
		}))
	}()
	files, err := buildcontext.Read(in)
	in.CloseWithError(io.EOF) // a rest of the body is not read
	return files, err
}

// running makes a build known to Cancel. The returned function forgets it.
func (h *Handlers) running(id string, cancel context.CancelFunc) (forget func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.builds[id] = cancel
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.builds, id)
	}
}

// Cancel serves POST /build/cancel. As in Docker, an unknown ID is not an error.
func (h *Handlers) Cancel(w http.ResponseWriter, r *httpapi.Request) error {
	id := r.Query("id")
	if id == "" {
		return httpapi.Errorf(http.StatusBadRequest, "build ID not provided")
	}
	h.mu.Lock()
	cancel := h.builds[id]
	h.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// lines writes the progress. Each line reaches the client immediately.
type lines struct{ w http.ResponseWriter }

func (l *lines) write(messages ...imagedoc.Message) {
	if len(messages) == 0 {
		return
	}
	l.w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(l.w)
	for _, m := range messages {
		_ = out.Encode(m) // the client is gone if it fails, which ends the request
	}
	_ = http.NewResponseController(l.w).Flush()
}
