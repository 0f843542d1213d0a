// Package registry downloads images from registries and mirrors, and uploads them. It selects hosts,
// protocols and credentials, and converts errors to faults. It stores nothing. Packages image and archive call
// it.
package registry

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
)

// dockerHub is the registry that mirrors replace.
const dockerHub = "docker.io"

// Client connects to registries.
type Client struct {
	mirrors       []mirror
	insecure      *insecure
	transport     http.RoundTripper
	pushTransport http.RoundTripper // waits longer for a response: registries verify a blob first
	log           *slog.Logger
}

// New returns a client. mirrors are URLs of mirrors of Docker Hub. insecureRegistries are
// host[:port] or CIDR of registries allowed to use plain HTTP or an untrusted certificate. Loopback
// always is.
func New(mirrors, insecureRegistries []string, log *slog.Logger) (*Client, error) {
	c := &Client{log: log}
	var err error
	if c.insecure, err = parseInsecure(insecureRegistries); err != nil {
		return nil, err
	}

	for _, m := range mirrors {
		parsed, err := parseMirror(m)
		if err != nil {
			return nil, err
		}
		c.mirrors = append(c.mirrors, parsed)
		if parsed.plain {
			c.insecure.hosts[parsed.host] = true
		}
	}

	c.transport = newTransport(c.insecure, responseTimeout)
	c.pushTransport = newTransport(c.insecure, commitTimeout)
	return c, nil
}

// Credentials authenticate the client to the registry in a reference.
type Credentials struct{ Username, Password, IdentityToken string }

func (c Credentials) authenticator() authn.Authenticator {
	if c == (Credentials{}) {
		return authn.Anonymous
	}
	return authn.FromConfig(authn.AuthConfig{Username: c.Username, Password: c.Password,
		IdentityToken: c.IdentityToken})
}

// Source is one registry that can have an image.
type Source struct {
	client *Client
	ref    reference.Named
	repo   name.Repository
	auth   authn.Authenticator
	verb   string // "pull" or "push", for errors
}

// Sources returns the registries for an image, in the order to try them. For Docker Hub these are
// the mirrors, then Docker Hub; otherwise the image's own registry. Credentials are never sent to
// mirrors.
func (c *Client) Sources(ctx context.Context, ref reference.Named, cred Credentials) ([]*Source, error) {
	var out []*Source
	domain, path := reference.Domain(ref), reference.Path(ref)
	add := func(host string, plain bool, auth authn.Authenticator) error {
		opts := []name.Option{}
		if plain {
			opts = append(opts, name.Insecure)
		}
		repo, err := name.NewRepository(host+"/"+path, opts...)
		if err != nil {
			return fault.New(fault.Invalid, Subject(ref), "invalid reference format", fault.WithCause(err),
				fault.WithField("reference"))
		}
		out = append(out, &Source{client: c, ref: ref, repo: repo, auth: auth, verb: "pull"})
		return nil
	}
	if domain == dockerHub {
		for _, m := range c.mirrors {
			if err := add(m.host, m.plain, authn.Anonymous); err != nil {
				return nil, err
			}
		}
	}

	return out, add(domain, c.insecure.allows(ctx, domain), cred.authenticator())
}

// Host returns the registry's host name and port.
func (s *Source) Host() string { return s.repo.RegistryStr() }

// Image is an image in a registry whose manifest and configuration were read. Layers are lowest
// first.
type Image struct {
	Digest string // digest of the reference: the index's if there is one
	Config []byte // configuration document
	ID     string // digest of the configuration
	Layers []Layer

	Manifest     []byte // manifest of the image, byte for byte
	ManifestType string // its media type

	source *Source
	puller *remote.Puller
}

// MaxConfig limits an image's configuration in bytes.
const MaxConfig = 1 << 20

// Layer is a layer blob in an image's manifest.
type Layer struct {
	Digest    string
	Size      int64
	MediaType string
}

// Fetch reads an image's manifest and configuration. The zero platform means the host's, or the
// only one of the image.
func (s *Source) Fetch(ctx context.Context, want platform.Platform) (*Image, error) {
	puller, err := remote.NewPuller(s.options()...)
	if err != nil {
		return nil, fault.New(fault.Internal, Subject(s.ref), "cannot be requested", fault.WithCause(err))
	}

	desc, err := puller.Get(ctx, s.remoteRef())
	if err != nil {
		return nil, s.fault(ctx, err)
	}

	img, err := s.choose(desc, want)
	if err != nil {
		return nil, s.fault(ctx, err)
	}

	out := &Image{Digest: desc.Digest.String(), source: s, puller: puller}
	if err := s.read(img, out); err != nil {
		return nil, s.fault(ctx, err)
	}

	return out, nil
}

func (s *Source) read(img v1.Image, out *Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}

	if t := manifest.Config.MediaType; !t.IsConfig() {
		return fault.New(fault.Invalid, Subject(s.ref), "is not a container image but of type "+string(t),
			fault.WithField("reference"))
	}

	if n := manifest.Config.Size; n > MaxConfig || n < 0 { // the registry client allocates what the manifest claims
		return fault.Invalidf(Subject(s.ref), "reference",
			"has a configuration of %d bytes, at most %d are supported", n, MaxConfig)
	}

	if out.Config, err = img.RawConfigFile(); err != nil {
		return err
	}

	out.ID = manifest.Config.Digest.String()
	for _, l := range manifest.Layers {
		out.Layers = append(out.Layers, Layer{l.Digest.String(), l.Size, string(l.MediaType)})
	}

	mediaType, err := img.MediaType()
	if err != nil {
		return err
	}
	out.ManifestType = string(mediaType)
	out.Manifest, err = img.RawManifest()

	return err
}

// Open starts the download of a layer. The reader fails if no data arrives for stallTimeout.
func (i *Image) Open(ctx context.Context, l Layer) (io.ReadCloser, error) {
	return openStalling(ctx, func(ctx context.Context) (io.ReadCloser, error) {
		layer, err := i.puller.Layer(ctx, i.source.repo.Digest(l.Digest))
		if err != nil {
			return nil, i.source.fault(ctx, err)
		}
		rc, err := layer.Compressed()
		if err != nil {
			return nil, i.source.fault(ctx, err)
		}
		return rc, nil
	})
}

func (s *Source) options() []remote.Option {
	return []remote.Option{remote.WithAuth(s.auth), remote.WithTransport(s.client.transport),
		remote.WithUserAgent("fairlead"),
		remote.WithRetryBackoff(retryBackoff), remote.WithRetryPredicate(worthRetrying)}
}

func (s *Source) remoteRef() name.Reference {
	if d, ok := s.ref.(reference.Digested); ok {
		return s.repo.Digest(d.Digest().String())
	}
	if t, ok := s.ref.(reference.Tagged); ok {
		return s.repo.Tag(t.Tag())
	}
	return s.repo.Tag("latest")
}

// Subject returns the subject of faults about an image, with its short name.
func Subject(ref reference.Reference) string {
	return `image "` + strings.TrimSpace(reference.FamiliarString(ref)) + `"`
}
