package httpapi_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// The server learns when the work of a continuation is done: with the handler if it was not started,
// otherwise at its end, which can be a panic.
func TestContinuationEnds(t *testing.T) {
	for how, handle := range map[string]func(*httpapi.Continuation){
		"not started": func(*httpapi.Continuation) {},
		"done":        func(c *httpapi.Continuation) { c.Go(func() {}) },
		"panic":       func(c *httpapi.Continuation) { c.Go(func() { panic("odd") }) },
	} {
		var log bytes.Buffer
		ready := func(context.Context) error { return nil }
		router := httpapi.NewRouter(slog.New(slog.NewTextHandler(&log, nil)), ready,
			[]httpapi.Operation{{Method: http.MethodGet, Path: "/x",
				Handle: func(_ http.ResponseWriter, r *httpapi.Request) error {
					c := r.Continue()
					defer c.Close()
					handle(c)
					return nil
				}}})
		done := make(chan struct{})
		r := httptest.NewRequest(http.MethodGet, "/x", nil)
		router.ServeHTTP(httptest.NewRecorder(), r.WithContext(service.WithOutlast(r.Context(),
			func(context.Context) (context.Context, func()) {
				return context.Background(), func() { close(done) }
			})))
		<-done
		if logged := strings.Contains(log.String(), "odd"); logged != (how == "panic") {
			t.Errorf("%s: got log %q", how, &log)
		}
	}
}
