package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/fairlead/fairlead/proto/fault"
)

// fault converts an error of the registry client, or a timeout, to a fault.
func (s *Source) fault(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errStalled) {
		return ctx.Err()
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return f
	}
	if te, ok := errors.AsType[*transport.Error](err); ok {
		return s.responseError(te)
	}
	return s.networkError(ctx, err)
}

func (s *Source) responseError(te *transport.Error) error {
	subject, from := Subject(s.ref), "registry "+s.Host()
	has := func(codes ...transport.ErrorCode) bool {
		for _, d := range te.Errors {
			for _, c := range codes {
				if d.Code == c {
					return true
				}
			}
		}
		return false
	}
	switch {
	case te.StatusCode == http.StatusUnauthorized || te.StatusCode == http.StatusForbidden ||
		has(transport.UnauthorizedErrorCode, transport.DeniedErrorCode):
		return fault.New(fault.Denied, subject,
			s.verb+" access denied: "+from+" has no such repository, or requires other credentials",
			fault.WithField("credentials"), fault.WithHint("check the name, and the credentials for %s", s.Host()))
	case has(transport.ManifestUnknownErrorCode):
		return s.unknown("manifest unknown: " + from + " has no such tag or digest")
	case has(transport.NameUnknownErrorCode):
		return s.unknown("repository unknown: " + from + " has no such repository")
	case has(transport.BlobUnknownErrorCode):
		return fault.New(fault.Unavailable, subject, from+" has lost one of its blobs", fault.WithCause(te),
			fault.WithHint("push the image again"))
	case te.StatusCode == http.StatusNotFound:
		return s.unknown("manifest unknown: " + from + " does not have it")
	case te.StatusCode == http.StatusTooManyRequests:
		return fault.New(fault.Exhausted, subject, from+" limits requests (429 Too Many Requests)",
			fault.WithHint("wait, log in there, or use a mirror (registry-mirrors)"))
	}

	return fault.New(fault.Unavailable, subject, from+" failed", fault.WithCause(te), fault.WithHint("try again later"))
}

func (s *Source) unknown(message string) error {
	return fault.New(fault.NotFound, Subject(s.ref), message, fault.WithField("reference"),
		fault.WithHint("check the name and the tag"))
}

// networkError converts an error without a usable response.
func (s *Source) networkError(ctx context.Context, err error) error {
	message := "registry " + s.Host() + " cannot be reached"
	hint := "check the name, the network, and that the registry runs"
	var certificate *tls.CertificateVerificationError
	var plain *plainHTTPError
	var dns *net.DNSError
	switch {
	case errors.Is(context.Cause(ctx), errStalled):
		message, hint, err = "registry "+s.Host()+" stopped responding", "try again later", errStalled
	case errors.As(err, &certificate):
		message = "registry " + s.Host() + " has an untrusted certificate"
		hint = "install its CA certificate on the host, or add the registry to insecure-registries"
	case errors.As(err, &plain) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		message = "registry " + s.Host() + " does not support HTTPS"
		hint = "if the network is trusted, add the registry to insecure-registries"
	case errors.As(err, &dns):
		hint = "check the name of the registry, and the host's /etc/resolv.conf"
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		message = "registry " + s.Host() + " sent a truncated response"
		hint = "try again later"
	case !isNetwork(err):
		message, hint = "registry "+s.Host()+" sent a response that is not valid", "check that it is a registry"
	}

	return fault.New(fault.Unavailable, Subject(s.ref), message, fault.WithCause(err), fault.WithHint("%s", hint))
}

func isNetwork(err error) bool {
	var n net.Error
	return errors.As(err, &n)
}
