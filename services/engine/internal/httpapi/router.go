package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"

	"github.com/fairlead/fairlead/agent/tracing"
	"github.com/fairlead/fairlead/proto/version"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
)

// Router is the handler of all requests.
type Router struct {
	operations []compiled
	ready      func(ctx context.Context) error
	log        *slog.Logger
}

// NewRouter returns a router. ready returns an error as long as another service is missing.
func NewRouter(log *slog.Logger, ready func(context.Context) error, operations ...[]Operation) *Router {
	r := &Router{ready: ready, log: log}
	for _, group := range operations {
		for _, o := range group {
			r.operations = append(r.operations, compile(o))
		}
	}
	return r
}

// ServeHTTP serves a request.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Server", "Fairlead/"+version.Version+" (linux)")
	h.Set("Api-Version", apiversion.Max.String())
	h.Set("Ostype", "linux")
	h.Set("Docker-Experimental", "false")

	if len(r.TransferEncoding) > 0 {
		// Proxies and this server can disagree on the end of a body that has a length too. What follows it
		// is not taken for a request.
		h.Set("Connection", "close")
	}

	track := &response{ResponseWriter: w}
	err := rt.serve(track, r)
	tracing.Of(r.Context()).Fail(err)
	if err == nil || track.wrote || r.Context().Err() != nil {
		return
	}
	writeError(w, err)
	if f := asError(err); f.Status >= http.StatusInternalServerError {
		rt.log.Warn("request failed", "method", r.Method, "path", r.URL.Path, "status", f.Status, "error", err)
	}
}

// serve finds and calls the operation.
func (rt *Router) serve(w *response, r *http.Request) error {
	if err := checkOrigin(r); err != nil {
		return err
	}
	path, ok := split(r.URL.EscapedPath())
	if !ok {
		return errNoPage()
	}
	asked, path, err := versionOf(path)
	if err != nil {
		return err
	}

	op, params := rt.find(r.Method, path)
	if op != nil {
		tracing.Of(r.Context()).Rename(op.Method + " " + op.Path)
	}
	if op == nil || asked.Compare(op.Since) < 0 {
		return errNoPage()
	}
	if !op.Early {
		if err := rt.ready(r.Context()); err != nil {
			return err
		}
	}
	return rt.call(op, w, &Request{Request: r, Version: asked, params: params, panicked: rt.reportPanic(op)})
}

// find returns the operation for a path and its parameters. It is nil if there is none.
func (rt *Router) find(method string, path []string) (*compiled, map[string]string) {
	for i := range rt.operations {
		op := &rt.operations[i]
		if op.Method != method {
			continue
		}
		if params, ok := op.match(path); ok {
			return op, params
		}
	}
	return nil, nil
}

// call calls an operation. A panic is an error of the request, not of the process.
func (rt *Router) call(op *compiled, w *response, r *Request) (err error) {
	defer func() {
		if v := recover(); v == http.ErrAbortHandler {
			panic(v) // the connection is closed, so that the client does not take a part for the whole
		} else if v != nil {
			r.panicked(v)
			err = Errorf(http.StatusInternalServerError, "internal error; see the agent's log")
		}
	}()
	return op.Handle(w, r)
}

// reportPanic returns a function that logs a panic of an operation.
func (rt *Router) reportPanic(op *compiled) func(any) {
	return func(v any) {
		rt.log.Error("operation panicked", "operation", op.Method+" "+op.Path, "panic", v, "stack",
			string(debug.Stack()))
	}
}

func errNoPage() error { return Errorf(http.StatusNotFound, "page not found") }

// versionOf separates the version from a path.
func versionOf(path []string) (apiversion.Version, []string, error) {
	if len(path) == 0 || !looksLikeVersion(path[0]) {
		return apiversion.Max, path, nil
	}
	v, ok := apiversion.Parse(path[0][1:])
	if !ok {
		return v, nil, Errorf(http.StatusBadRequest, "invalid API version %q; write /vMAJOR.MINOR, such as /v%s",
			path[0][1:], apiversion.Max)
	}
	if message := v.Check(); message != "" {
		return v, nil, Errorf(http.StatusBadRequest, "%s", message)
	}
	return v, path[1:], nil
}

// looksLikeVersion reports whether a segment is "v" with digits and dots.
func looksLikeVersion(segment string) bool {
	rest, ok := strings.CutPrefix(segment, "v")
	return ok && rest != "" && strings.Trim(rest, "0123456789.") == ""
}

// checkOrigin rejects requests of browsers over TCP, which pages of any site can send: by their Origin,
// or by a host name that resolves to this host (DNS rebinding).
func checkOrigin(r *http.Request) error {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || local.Network() != "tcp" {
		return nil
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		return Errorf(http.StatusForbidden, "requests of web pages (%.100q) are refused", origin)
	}
	if r.TLS != nil {
		return nil // the client has a certificate of this host
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || isAddress(host) {
		return nil
	}
	return Errorf(http.StatusForbidden, "host %.100q is refused; use an IP address or localhost", r.Host)
}

// isAddress reports whether a host is an IP address.
func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// response records whether anything was written.
type response struct {
	http.ResponseWriter
	wrote bool
}

// WriteHeader writes the status.
func (w *response) WriteHeader(status int) {
	w.wrote = true
	w.ResponseWriter.WriteHeader(status)
}

// Write writes a part of the body.
func (w *response) Write(b []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(b)
}

// Unwrap returns the writer for http.ResponseController, which flushes and takes over connections.
func (w *response) Unwrap() http.ResponseWriter {
	w.wrote = true
	return w.ResponseWriter
}

// asError returns an error with its status.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return fromFault(err)
}
