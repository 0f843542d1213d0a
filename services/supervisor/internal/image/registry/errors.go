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

// fault says in clear words what a registry's refusal, or its silence, means.
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
		return fault.New(fault.Denied, subject, "pull access denied: "+from+" has no such repository, or wants other credentials",
			fault.WithField("credentials"), fault.WithHint("check the name, and the credentials for %s", s.Host()))
	case has(transport.ManifestUnknownErrorCode):
		return s.unknown("manifest unknown: " + from + " has no such tag or digest")
	case has(transport.NameUnknownErrorCode):
		return s.unknown("repository unknown: " + from + " has none of that name")
	case has(transport.BlobUnknownErrorCode):
		return fault.New(fault.Unavailable, subject, from+" has lost a part of it", fault.WithCause(te),
			fault.WithHint("push it there again"))
	case te.StatusCode == http.StatusNotFound:
		return s.unknown("manifest unknown: " + from + " does not know it")
	case te.StatusCode == http.StatusTooManyRequests:
		return fault.New(fault.Exhausted, subject, from+" is asked too often (429 Too Many Requests)",
			fault.WithHint("wait, log in there, or use a mirror (registry-mirrors)"))
	}
	return fault.New(fault.Unavailable, subject, from+" failed", fault.WithCause(te), fault.WithHint("try again later"))
}

func (s *Source) unknown(message string) error {
	return fault.New(fault.NotFound, Subject(s.ref), message, fault.WithField("reference"), fault.WithHint("check the name and the tag"))
}

// networkError is for a registry that gave no answer that makes sense.
func (s *Source) networkError(ctx context.Context, err error) error {
	message, hint := "registry "+s.Host()+" cannot be reached", "check the name, the network, and that the registry runs"
	var certificate *tls.CertificateVerificationError
	var plain *plainHTTPError
	var dns *net.DNSError
	switch {
	case errors.Is(context.Cause(ctx), errStalled):
		message, hint, err = "registry "+s.Host()+" has stopped answering", "try again later", errStalled
	case errors.As(err, &certificate):
		message = "registry " + s.Host() + " shows a certificate that is not trusted"
		hint = "install its authority on this machine, or add the registry to insecure-registries"
	case errors.As(err, &plain) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		message = "registry " + s.Host() + " does not speak HTTPS"
		hint = "if you trust the network between, add it to insecure-registries"
	case errors.As(err, &dns):
		hint = "check the name of the registry, and the host's /etc/resolv.conf"
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		message = "registry " + s.Host() + " broke off its answer"
		hint = "try again later"
	case !isNetwork(err):
		message, hint = "registry "+s.Host()+" gave an answer that makes no sense", "check that it is a registry"
	}
	return fault.New(fault.Unavailable, Subject(s.ref), message, fault.WithCause(err), fault.WithHint("%s", hint))
}

func isNetwork(err error) bool {
	var n net.Error
	return errors.As(err, &n)
}
