package httpapi_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// newRouter returns a router with a few operations, which write what they were called with.
func newRouter(ready error) *httpapi.Router {
	show := func(what string) httpapi.Handler {
		return func(w http.ResponseWriter, r *httpapi.Request) error {
			_, err := io.WriteString(w, what+" "+r.Name()+" "+r.Version.String())
			return err
		}
	}
	fail := func(err error) httpapi.Handler {
		return func(http.ResponseWriter, *httpapi.Request) error { return err }
	}
	return httpapi.NewRouter(slog.New(slog.DiscardHandler), func(context.Context) error { return ready },
		[]httpapi.Operation{
			{Method: http.MethodGet, Path: "/_ping", Handle: show("ping"), Early: true},
			{Method: http.MethodGet, Path: "/containers/{name}/json", Handle: show("container")},
			{Method: http.MethodGet, Path: "/images/{name...}/json", Handle: show("image")},
			{Method: http.MethodGet, Path: "/new", Handle: show("new"), Since: apiversion.V(50)},
			{Method: http.MethodGet, Path: "/docker", Handle: fail(fault.New(fault.NotFound, `container "x"`,
				"No such container: x", fault.WithHint("look")))},
			{Method: http.MethodGet, Path: "/image", Handle: fail(fault.New(fault.NotFound, `image "x:1"`,
				"No such image"))},
			{Method: http.MethodGet, Path: "/own", Handle: fail(fault.New(fault.Busy, "port 80", "is in use",
				fault.WithHint("stop it")))},
			{Method: http.MethodGet, Path: "/plain", Handle: fail(errors.New("odd"))},
			{Method: http.MethodGet, Path: "/panic", Handle: func(http.ResponseWriter,
				*httpapi.Request) error {
				panic("x")
			}},
		})
}

func TestRoutes(t *testing.T) {
	router := newRouter(nil)
	for target, want := range map[string]string{
		"/_ping":                               "200 ping  1.56",
		"/v1.41/containers/a/json":             "200 container a 1.41",
		"/containers//a/json":                  "200 container a 1.56",
		"/containers/%2Fa/json":                "200 container a 1.56",
		"/containers/a%2Fb/json":               "200 container a/b 1.56",
		"/containers/..%2f..%2fetc/json":       "200 container ../../etc 1.56",
		"/containers/%2e%2e/json":              `404 {"message":"page not found"}`,
		"/containers/a/b/json":                 `404 {"message":"page not found"}`,
		"/v1.30/images/reg:5000/team/x:1/json": "200 image reg:5000/team/x:1 1.30",
		"/v1.24/images/reg%2Fx/json":           "200 image reg/x 1.24",
		"/v1.99/_ping":                         `400 {"message":"client version 1.99 is too new. Maximum supported API version is 1.56"}`,
		"/v1.2.3/_ping":                        `400 {"message":"invalid API version \"1.2.3\"; write /vMAJOR.MINOR, such as /v1.56"}`,
		"/volumes":                             `404 {"message":"page not found"}`,
		"/v1.49/new":                           `404 {"message":"page not found"}`,
		"/v1.50/new":                           "200 new  1.50",
		"/docker":                              `404 {"message":"No such container: x"}`,
		"/image":                               `404 {"message":"No such image: x:1"}`,
		"/own":                                 `409 {"message":"port 80: is in use; stop it"}`,
		"/plain":                               `500 {"message":"odd"}`,
		"/panic":                               `500 {"message":"internal error; see the agent's log"}`,
	} {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		got := w.Result().Status[:3] + " " + strings.TrimSpace(w.Body.String())
		if got != want || w.Header().Get("Api-Version") != "1.56" || w.Header().Get("Ostype") != "linux" {
			t.Errorf("%s: got %s, headers %v, want %s", target, got, w.Header(), want)
		}
	}
}

func TestOnlyEarlyOperationsBeforeReady(t *testing.T) {
	router := newRouter(httpapi.Errorf(http.StatusServiceUnavailable, "netagent is not running"))
	for target, want := range map[string]int{"/_ping": 200, "/containers/a/json": 503, "/nothing": 404} {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		if w.Code != want {
			t.Errorf("%s: got %d, want %d", target, w.Code, want)
		}
	}
}

func TestBrowsersAreRefusedOnTCP(t *testing.T) {
	router := newRouter(nil)
	for _, c := range []struct {
		network, host, origin string
		want                  int
	}{
		{"tcp", "127.0.0.1:2375", "", 200}, {"tcp", "localhost:2375", "", 200}, {"tcp", "[::1]:2375", "", 200},
		{"tcp", "attacker.example", "", 403}, {"tcp", "127.0.0.1:2375", "http://attacker.example", 403},
		{"unix", "attacker.example", "", 200}, {"tcp", "localhost.attacker.example:2375", "", 403},
	} {
		r := httptest.NewRequest(http.MethodGet, "/_ping", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		var local net.Addr = &net.TCPAddr{}
		if c.network == "unix" {
			local = &net.UnixAddr{Net: "unix"}
		}
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local)))
		if w.Code != c.want {
			t.Errorf("%+v: got %d", c, w.Code)
		}
	}
}

func TestRequestAfterChunkedBodyIsIgnored(t *testing.T) {
	server := httptest.NewServer(newRouter(nil))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "GET /_ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /own HTTP/1.1\r\nHost: localhost\r\n"+
		"Connection: close\r\n\r\n")
	got, err := io.ReadAll(conn)
	if err != nil || strings.Count(string(got), "HTTP/1.1 ") != 1 || !strings.Contains(string(got), "200 OK") {
		t.Errorf("got %q, %v, want one response", got, err)
	}
}

// FuzzRouter checks that no request ends in a panic or in a status that is not an answer to it.
func FuzzRouter(f *testing.F) {
	for _, seed := range []string{"/v1.41/containers/a/json", "//..//%2f", "/v9.9.9/x", "/images/%zz/json", "/%00",
		"/containers/json?filters={\"a\":1}"} {
		f.Add(seed, "127.0.0.1")
	}
	router := newRouter(nil)
	f.Fuzz(func(t *testing.T, target, host string) {
		r, err := http.NewRequest(http.MethodGet, "http://d/"+target, nil)
		if err != nil {
			return
		}
		r.Host = host
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		if w.Code >= 500 && !strings.Contains(r.URL.Path, "plain") && !strings.Contains(r.URL.Path, "panic") {
			t.Errorf("%q: got %d %s", target, w.Code, w.Body)
		}
	})
}
