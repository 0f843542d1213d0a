package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/fairlead/fairlead/proto/fault"
)

// Target is a repository to push to, with an authenticated client.
type Target struct {
	source *Source
	client *http.Client
	scheme string
}

// Target authenticates for a push to the repository of a reference. from lists repositories of the
// same registry that blobs can be mounted from.
func (c *Client) Target(ctx context.Context, ref reference.Named, cred Credentials, from []string) (*Target, error) {
	s, err := c.own(ctx, ref, cred)
	if err != nil {
		return nil, err
	}

	s.verb = "push"
	scopes := []string{s.repo.Scope(transport.PushScope)}
	for _, path := range from {
		if r, err := name.NewRepository(s.Host() + "/" + path); err == nil {
			scopes = append(scopes, r.Scope(transport.PullScope))
		}
	}
	rt, err := transport.NewWithContext(ctx, s.repo.Registry, s.auth,
		transport.NewUserAgent(c.pushTransport, "fairlead"), scopes)
	if err != nil {
		return nil, s.fault(ctx, err)
	}

	return &Target{source: s, client: &http.Client{Transport: rt}, scheme: s.repo.Scheme()}, nil
}

// own returns the registry of a reference, without mirrors.
func (c *Client) own(ctx context.Context, ref reference.Named, cred Credentials) (*Source, error) {
	all, err := c.Sources(ctx, ref, cred)
	if err != nil {
		return nil, err
	}
	return all[len(all)-1], nil
}

// HasBlob reports whether the repository has a blob, and its size. It is one HEAD request.
func (t *Target) HasBlob(ctx context.Context, digest string) (size int64, ok bool, err error) {
	resp, err := t.do(ctx, http.MethodHead, t.url("blobs/"+digest), nil, "", http.StatusOK, http.StatusNotFound)
	if err != nil {
		return 0, false, err
	}
	_ = resp.Body.Close()
	return resp.ContentLength, resp.StatusCode == http.StatusOK, nil
}

// Mount mounts a blob of another repository of the registry, and reports whether that was possible.
func (t *Target) Mount(ctx context.Context, digest, from string) (ok bool) {
	u := t.url("blobs/uploads/") + "?" + url.Values{"mount": {digest}, "from": {from}}.Encode()
	resp, err := t.do(ctx, http.MethodPost, u, nil, "", http.StatusCreated, http.StatusAccepted)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusAccepted { // an upload has begun instead
		if at, err := location(resp); err == nil {
			if resp, err := t.do(ctx, http.MethodDelete, at, nil, "", http.StatusNoContent); err == nil {
				_ = resp.Body.Close()
			}
		}
		return false
	}
	return true
}

// Upload uploads a blob whose digest is known only after its last byte. content writes the blob and
// returns its digest. The upload fails if the registry accepts no data for stallTimeout.
func (t *Target) Upload(ctx context.Context, content func(io.Writer) (digest string, err error)) error {
	resp, err := t.do(ctx, http.MethodPost, t.url("blobs/uploads/"), nil, "", http.StatusAccepted)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	at, err := location(resp)
	if err != nil {
		return err
	}

	at, digest, err := t.stream(ctx, at, content)
	if err != nil {
		return err
	}

	u, err := url.Parse(at)
	if err != nil {
		return t.source.fault(ctx, err)
	}
	query := u.Query()
	query.Set("digest", digest)
	u.RawQuery = query.Encode()
	resp, err = t.do(ctx, http.MethodPut, u.String(), nil, "", http.StatusCreated)
	if err != nil {
		return err
	}

	return resp.Body.Close()
}

// stream sends the content of a blob in one request.
func (t *Target) stream(ctx context.Context, at string,
	content func(io.Writer) (string, error)) (next, digest string, err error) {
	pr, pw := io.Pipe()
	type result struct {
		digest string
		err    error
	}
	made := make(chan result, 1)
	go func() {
		d, err := content(pw)
		made <- result{d, err}
		_ = pw.CloseWithError(err)
	}()

	uctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	in := &feed{in: pr, timer: time.AfterFunc(stallTimeout, func() { cancel(errStalled) })}
	resp, err := t.do(uctx, http.MethodPatch, at, in, "application/octet-stream",
		http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	in.timer.Stop()
	_ = pr.CloseWithError(errUploadEnded)
	blob := <-made
	switch {
	case blob.err != nil && !isClosed(blob.err): // the layer, not the registry
		if err == nil {
			_ = resp.Body.Close()
		}
		return "", "", blob.err
	case err != nil:
		return "", "", err
	case blob.err != nil:
		_ = resp.Body.Close()
		return "", "", t.source.fault(ctx, io.ErrUnexpectedEOF)
	}

	_ = resp.Body.Close()
	next, err = location(resp)

	return next, blob.digest, err
}

// feed is the body of an upload. Its timer runs while the registry accepts no data.
type feed struct {
	in    io.ReadCloser
	timer *time.Timer
}

// Read returns the next bytes of the blob.
func (f *feed) Read(p []byte) (int, error) {
	f.timer.Stop()
	n, err := f.in.Read(p)
	if err == nil {
		f.timer.Reset(stallTimeout)
	}
	return n, err
}

// Close closes the blob.
func (f *feed) Close() error { return f.in.Close() }

func isClosed(err error) bool {
	return errors.Is(err, errUploadEnded) || errors.Is(err, io.ErrClosedPipe)
}

var errUploadEnded = errors.New("the registry closed the upload")

// UploadDocument uploads a configuration.
func (t *Target) UploadDocument(ctx context.Context, digest string, data []byte) error {
	return t.Upload(ctx, func(w io.Writer) (string, error) {
		_, err := w.Write(data)
		return digest, err
	})
}

// PutManifest stores a manifest or index under a tag or digest.
func (t *Target) PutManifest(ctx context.Context, tag, mediaType string, data []byte) error {
	resp, err := t.do(ctx, http.MethodPut, t.url("manifests/"+tag), bytes.NewReader(data), mediaType,
		http.StatusOK, http.StatusCreated, http.StatusAccepted)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (t *Target) url(path string) string {
	return t.scheme + "://" + t.source.Host() + "/v2/" + t.source.repo.RepositoryStr() + "/" + path
}

// do sends a request. Any status that is not accepted is a fault. A request without a body, or with
// a document, is repeated after a temporary failure.
func (t *Target) do(ctx context.Context, method, url string, body io.Reader, contentType string,
	accepted ...int) (*http.Response, error) {
	document, again := body.(*bytes.Reader)
	again = again || body == nil
	for attempt, pause := 1, retryBackoff.Duration; ; attempt++ {
		resp, err := t.once(ctx, method, url, body, contentType, accepted)
		if err == nil {
			return resp, nil
		}
		if !again || attempt >= retryBackoff.Steps || !worthRetrying(err) {
			return nil, t.source.fault(ctx, err)
		}
		if document != nil {
			_, _ = document.Seek(0, io.SeekStart)
		}
		select {
		case <-ctx.Done():
			return nil, t.source.fault(ctx, ctx.Err())
		case <-time.After(pause):
			pause = time.Duration(float64(pause) * retryBackoff.Factor)
		}
	}
}

// once sends a request once.
func (t *Target) once(ctx context.Context, method, url string, body io.Reader, contentType string,
	accepted []int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}

	resp, err := t.client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, accepted...); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}

	return resp, nil
}

// location returns the next address of an upload, which can be relative.
func location(resp *http.Response) (string, error) {
	at, err := resp.Location()
	if err != nil {
		return "", fault.New(fault.Unavailable, "registry "+resp.Request.URL.Host,
			"sent a response without the address of the upload", fault.WithCause(err))
	}
	return at.String(), nil
}
