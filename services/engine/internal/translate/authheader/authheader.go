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

// configHeader has the credentials for all registries of a client.
const configHeader = "X-Registry-Config"

// hubServer is the name of Docker Hub in a client's configuration.
const hubServer = "https://index.docker.io/v1/"

// All returns a function that returns the user name and password for a registry, from the headers of a
// build. Both are empty if there are none. A user name "" with a password is an identity token.
func All(h http.Header) func(host string) (user, password string) {
	all := map[string]registry.AuthConfig{}
	if data, err := decode(h.Get(configHeader)); err == nil {
		_ = json.Unmarshal(data, &all) // what cannot be read counts as none
	}
	return func(host string) (string, string) {
		auth, ok := all[host]
		if host == "docker.io" || strings.HasSuffix(host, ".docker.io") {
			if auth, ok = all[hubServer]; !ok {
				auth = all["docker.io"]
			}
		} else if !ok {
			auth = all["https://"+host]
		}
		c := CredentialsToProto(auth)
		if c.GetIdentityToken() != "" {
			return "", c.GetIdentityToken()
		}
		return c.GetUsername(), c.GetPassword()
	}
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
