package registry

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
)

// Remote describes an image in a registry.
type Remote struct {
	Digest    string // of the manifest or index
	MediaType string
	Size      int64
	Platforms []string // os/arch[/variant]
}

// Describe asks for the digest and the platforms of an image. It downloads no layer.
func (s *Source) Describe(ctx context.Context) (*Remote, error) {
	puller, err := remote.NewPuller(s.options()...)
	if err != nil {
		return nil, fault.New(fault.Internal, Subject(s.ref), "cannot be requested", fault.WithCause(err))
	}
	desc, err := puller.Get(ctx, s.remoteRef())
	if err != nil {
		return nil, s.fault(ctx, err)
	}

	out := &Remote{Digest: desc.Digest.String(), MediaType: string(desc.MediaType), Size: desc.Size}
	if desc.MediaType.IsIndex() {
		var index v1.IndexManifest
		if err := json.Unmarshal(desc.Manifest, &index); err != nil {
			return nil, s.fault(ctx, err)
		}
		for _, m := range index.Manifests {
			if m.Platform != nil && m.Platform.OS != "unknown" {
				out.Platforms = append(out.Platforms, platform.Platform{OS: m.Platform.OS,
					Arch: m.Platform.Architecture, Variant: m.Platform.Variant}.String())
			}
		}
		return out, nil
	}

	img, err := s.choose(desc, platform.Platform{})
	if err != nil {
		return nil, s.fault(ctx, err)
	}
	read := &Image{source: s, puller: puller}
	if err := s.read(img, read); err != nil {
		return nil, s.fault(ctx, err)
	}
	var c v1.ConfigFile
	if err := json.Unmarshal(read.Config, &c); err == nil && c.OS != "" {
		out.Platforms = []string{platform.Platform{OS: c.OS, Arch: c.Architecture, Variant: c.Variant}.String()}
	}

	return out, nil
}

// Found is a repository found by Search.
type Found struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Stars       int    `json:"star_count"`
	Official    bool   `json:"is_official"`
	Automated   bool   `json:"is_automated"`
}

// maxFound is the largest number of results that registries return.
const maxFound = 100

// searchHost is the host that searches Docker Hub.
const searchHost = "index.docker.io"

// Search searches a registry for repositories by the first version of the registry API, which many
// registries do not have. The term can start with the registry.
func (c *Client) Search(ctx context.Context, term string, limit int, cred Credentials) ([]Found, error) {
	subject := `search "` + term + `"`
	if limit < 0 || limit > maxFound {
		return nil, fault.Invalidf(subject, "limit", "limit %d is outside the range of [1, %d]", limit, maxFound)
	}
	host, rest := SplitTerm(term)
	if rest == "" {
		return nil, fault.Invalidf(subject, "term", "is empty")
	}

	query := url.Values{"q": {rest}}
	if limit > 0 {
		query.Set("n", strconv.Itoa(limit))
	}
	schemes := []string{"https"}
	if c.insecure.allows(ctx, host) {
		schemes = []string{"https", "http"}
	}

	var err error
	for _, scheme := range schemes {
		var found []Found
		if found, err = c.search(ctx, scheme+"://"+host+"/v1/search?"+query.Encode(), subject, host, cred); err == nil {
			return found, nil
		}
		if _, ok := errors.AsType[*fault.Fault](err); ok {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}

	return nil, fault.New(fault.Unavailable, subject, "registry "+host+" cannot be reached", fault.WithCause(err))
}

// SplitTerm splits a search term into the host to ask and the rest.
func SplitTerm(term string) (host, rest string) {
	first, rest, ok := strings.Cut(term, "/")
	if !ok || !strings.ContainsAny(first, ".:") && first != "localhost" {
		return searchHost, term
	}
	if first == dockerHub {
		first = searchHost
	}
	if first == searchHost {
		rest = strings.TrimPrefix(rest, "library/")
	}
	return first, rest
}

// search sends one request. A failure without a response is returned as it is.
func (c *Client) search(ctx context.Context, u, subject, host string, cred Credentials) ([]Found, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "fairlead")
	req.Header.Set("X-Docker-Token", "true") // as Docker does
	if cred.Username != "" && cred.Password != "" {
		req.SetBasicAuth(cred.Username, cred.Password)
	}

	resp, err := (&http.Client{Transport: c.transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()

	var out struct {
		Results []Found `json:"results"`
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return nil, fault.New(fault.Denied, subject, "registry "+host+" requires other credentials",
			fault.WithHint("log in: fairlead login %s", host))
	case resp.StatusCode == http.StatusOK:
		data, rerr := io.ReadAll(resp.Body) // the transport limits its size
		if err = rerr; err == nil {
			err = json.Unmarshal(data, &out)
		}
		if err == nil {
			return out.Results, nil
		}
	}

	return nil, fault.New(fault.Unavailable, subject, "registry "+host+" has no search ("+resp.Status+")",
		fault.WithCause(err), fault.WithHint("only registries with the v1 search API, such as Docker Hub, have one"))
}

// Check verifies credentials with a registry. server is HOST[:PORT] or a URL; empty means Docker
// Hub.
func (c *Client) Check(ctx context.Context, server string, cred Credentials) error {
	host := strings.TrimPrefix(strings.TrimPrefix(server, "https://"), "http://")
	host, _, _ = strings.Cut(host, "/")
	if host == "" || host == dockerHub {
		host = searchHost
	}
	var opts []name.Option
	if c.insecure.allows(ctx, host) {
		opts = append(opts, name.Insecure)
	}
	subject := "registry " + host
	reg, err := name.NewRegistry(host, opts...)
	if err != nil {
		return fault.Invalidf(subject, "server", "is not a valid host[:port]")
	}

	ref, err := reference.ParseNormalizedNamed(host + "/login")
	if err != nil {
		return fault.Invalidf(subject, "server", "is not a valid host[:port]")
	}
	s := &Source{client: c, ref: ref, repo: reg.Repo("login"), auth: cred.authenticator()}
	rt, err := transport.NewWithContext(ctx, reg, s.auth, transport.NewUserAgent(c.transport, "fairlead"), nil)
	if err == nil {
		err = ping(ctx, rt, reg)
	}
	if err == nil {
		return nil
	}

	f, ok := errors.AsType[*fault.Fault](s.fault(ctx, err))
	if !ok {
		return err
	}
	if f.Kind == fault.Denied {
		return fault.New(fault.Denied, subject, "login failed: unauthorized: incorrect username or password",
			fault.WithField("credentials"))
	}
	n := *f
	n.Subject = subject

	return &n
}

// ping requests the base of the API, with credentials.
func ping(ctx context.Context, rt http.RoundTripper, reg name.Registry) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, reg.Scheme()+"://"+reg.RegistryStr()+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: rt}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return transport.CheckError(resp, http.StatusOK)
}
