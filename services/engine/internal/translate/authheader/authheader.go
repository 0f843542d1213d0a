// Package authheader reads the registry credentials that Docker's clients send with a request. It
// performs no I/O. The packages with operations on registries use it.
package authheader

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/moby/moby/api/types/registry"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Credentials returns the credentials in the headers of a request, or nil. As in Docker, what cannot
// be read counts as none: images of many registries need no credentials.
func Credentials(h http.Header) *containerv1.Credentials {
	data, err := decode(h.Get(registry.AuthHeader))
	if err != nil {
		return nil
	}

	var auth registry.AuthConfig
	if err := json.Unmarshal(data, &auth); err != nil {
		return nil
	}
	return CredentialsToProto(auth)
}

// CredentialsToProto converts credentials. It returns nil for those without content.
func CredentialsToProto(auth registry.AuthConfig) *containerv1.Credentials {
	c := &containerv1.Credentials{Username: auth.Username, Password: auth.Password, IdentityToken: auth.IdentityToken}
	if joined, err := decode(auth.Auth); err == nil && c.GetUsername() == "" && c.GetPassword() == "" {
		c.Username, c.Password, _ = strings.Cut(strings.TrimRight(string(joined), "\x00"), ":")
	}
	if c.GetUsername() == "" && c.GetPassword() == "" && c.GetIdentityToken() == "" {
		return nil
	}
	return c
}

// decode decodes base64 in the URL form, which Docker documents, and in the standard form, which
// some libraries send, both with and without padding.
func decode(text string) ([]byte, error) {
	text = strings.TrimRight(text, "=")
	text = strings.NewReplacer("+", "-", "/", "_").Replace(text)
	return base64.RawURLEncoding.DecodeString(text)
}
