package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Timeouts. The duration of a download is not limited while data arrives.
const (
	connectTimeout  = 10 * time.Second
	responseTimeout = 30 * time.Second
	commitTimeout   = 5 * time.Minute
	stallTimeout    = 60 * time.Second
	idleTimeout     = 30 * time.Second
)

var retryBackoff = remote.Backoff{Duration: 300 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 3}

// worthRetrying reports whether an error is temporary or a broken connection. An unreachable host
// or a timeout is not retried.
func worthRetrying(err error) bool {
	if te, ok := errors.AsType[*transport.Error](err); ok {
		return te.Temporary()
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ECONNRESET)
}

// roundTripper verifies certificates and rejects plain HTTP for all hosts that are not insecure.
// These include the targets of redirects and token servers.
type roundTripper struct {
	insecure *insecure
	strict   *http.Transport
	lenient  *http.Transport
}

func newTransport(in *insecure, timeout time.Duration) *roundTripper {
	strict := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   connectTimeout,
		ResponseHeaderTimeout: timeout,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConnsPerHost:   4,
	}
	lenient := strict.Clone()
	lenient.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // configured, or loopback
	return &roundTripper{in, strict, lenient}
}

// maxDocument limits a response that is read as a whole: manifests, tokens and errors.
const maxDocument = 4 << 20

// RoundTrip limits what the registry client reads into memory. Blobs are streamed, except the
// configuration, whose size is checked.
func (t *roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.send(r)
	if err == nil && !isBlob(r) {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxDocument), resp.Body}
	}
	return resp, err
}

// isBlob reports whether a request, or the one that it was redirected from, is for a blob.
func isBlob(r *http.Request) bool {
	for r.Response != nil && r.Response.Request != nil {
		r = r.Response.Request
	}
	return strings.Contains(r.URL.Path, "/blobs/")
}

// maxRedirects limits the redirects of one request. The registry client has no limit.
const maxRedirects = 10

var errRedirects = fmt.Errorf("more than %d redirects", maxRedirects)

// redirects returns the number of redirects before a request.
func redirects(r *http.Request) (n int) {
	for ; r.Response != nil && r.Response.Request != nil; n++ {
		r = r.Response.Request
	}
	return n
}

func (t *roundTripper) send(r *http.Request) (*http.Response, error) {
	if redirects(r) > maxRedirects {
		return nil, errRedirects
	}
	if t.insecure.allows(r.Context(), r.URL.Host) {
		return t.lenient.RoundTrip(r)
	}
	if r.URL.Scheme != "https" {
		return nil, &plainHTTPError{r.URL.Host}
	}
	return t.strict.RoundTrip(r)
}

// plainHTTPError is returned for a host that would need plain HTTP.
type plainHTTPError struct{ host string }

func (e *plainHTTPError) Error() string { return "plain HTTP to " + e.host + " is not allowed" }

var errStalled = fmt.Errorf("no data received for %v", stallTimeout)

// openStalling opens a stream that fails with errStalled if no data arrives, or when ctx is done.
func openStalling(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &stalling{ctx: ctx, cancel: cancel, timer: time.AfterFunc(stallTimeout, func() { cancel(errStalled) })}
	var err error
	if s.in, err = open(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

type stalling struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	in     io.ReadCloser
}

func (s *stalling) Read(p []byte) (int, error) {
	s.timer.Reset(stallTimeout)
	n, err := s.in.Read(p)
	s.timer.Stop()
	if cause := context.Cause(s.ctx); err != nil && err != io.EOF && cause != nil {
		err = cause
	}
	return n, err
}

func (s *stalling) stop() {
	s.timer.Stop()
	s.cancel(context.Canceled)
}

func (s *stalling) Close() error {
	defer s.stop()
	return s.in.Close()
}
