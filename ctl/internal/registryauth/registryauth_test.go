package registryauth_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/internal/registryauth"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func configured(t *testing.T, text string) *registryauth.Config {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := registryauth.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRegistryOfImage(t *testing.T) {
	for image, want := range map[string]string{
		"nginx": "https://index.docker.io/v1/", "me/app:1": "https://index.docker.io/v1/",
		"docker.io/library/nginx": "https://index.docker.io/v1/",
		"localhost:5000/a":        "localhost:5000", "ghcr.io/a/b@sha256:" + strings.Repeat("a", 64): "ghcr.io",
	} {
		if got := registryauth.Registry(image); got != want {
			t.Errorf("%s is from %q, want %q", image, got, want)
		}
	}
}

func TestStoredCredentialsForRegistryForms(t *testing.T) {
	c := configured(t, `{"auths": {
		"https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0OnRvbw=="},
		"https://ghcr.io/v2/": {"username": "u", "password": "p"},
		"localhost:5000": {"identitytoken": "t"},
		"empty.example": {},
		"bad.example": {"auth": "%%"}
	}, "credHelpers": {"gcr.io": "gcloud"}}`)
	for registry, want := range map[string]*containerv1.Credentials{
		"https://index.docker.io/v1/": {Username: "me", Password: "secret:too"},
		"ghcr.io":                     {Username: "u", Password: "p"},
		"localhost:5000":              {IdentityToken: "t"},
		"empty.example":               nil,
		"other.example":               nil,
	} {
		if got, err := c.Stored(registry); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", registry, got, err, want)
		}
	}

	if _, err := c.Stored("bad.example"); err == nil ||
		!strings.Contains(err.Error(), "the auth of bad.example is not the base64 of USER:PASSWORD") {
		t.Errorf("%v", err)
	}

	if got := c.Helper("gcr.io") + "|" + c.Helper("ghcr.io"); got != "gcloud|" {
		t.Errorf("helpers %s", got)
	}
}

func TestOpenMissingAndInvalidFile(t *testing.T) {
	if c, err := registryauth.Open(t.TempDir()); err != nil || c.Helper("x") != "" {
		t.Errorf("missing: %v", err)
	}

	if _, err := registryauth.Open(""); err != nil {
		t.Errorf("no home: %v", err)
	}

	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}

	if _, err := registryauth.Open(dir); err == nil || !strings.Contains(err.Error(), path+": cannot be read") {
		t.Errorf("broken: %v", err)
	}
}

func TestDirMatchesDocker(t *testing.T) {
	env := map[string]string{"HOME": "/home/me"}
	lookup := func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	if got := registryauth.Dir(lookup); got != "/home/me/.docker" {
		t.Error(got)
	}

	env["DOCKER_CONFIG"] = "/etc/d"
	if got := registryauth.Dir(lookup); got != "/etc/d" {
		t.Error(got)
	}

	clear(env)
	if got := registryauth.Dir(lookup); got != "" {
		t.Error(got)
	}
}

func helper(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte("#!/bin/sh\n"+script),
		0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestHelperProtocol(t *testing.T) {
	helper(t, `read -r registry || true
case "$1 $registry" in
"get a.example") echo '{"ServerURL":"a.example","Username":"u","Secret":"s"}' ;;
"get t.example") echo '{"Username":"<token>","Secret":"s"}' ;;
"get none.example") echo "credentials not found in native keychain"; exit 1 ;;
"get odd.example") echo "no JSON" ;;
*) echo "the keychain is locked" >&2; exit 2 ;;
esac`)
	for registry, want := range map[string]*containerv1.Credentials{
		"a.example": {Username: "u", Password: "s"}, "t.example": {IdentityToken: "s"}, "none.example": nil,
	} {
		if got, err := registryauth.Ask(t.Context(), "test", registry); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", registry, got, err, want)
		}
	}

	for registry, want := range map[string]string{
		"locked.example": "credential helper docker-credential-test: cannot return credentials for " +
			"locked.example (the keychain is locked): exit status 2",
		"odd.example": "credential helper docker-credential-test: cannot return credentials for odd.example: " +
			"invalid character",
	} {
		if _, err := registryauth.Ask(t.Context(), "test", registry); err == nil ||
			!strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v; want %s", registry, err, want)
		}
	}

	if _, err := registryauth.Ask(t.Context(), "not-there", "x"); err == nil ||
		!strings.Contains(err.Error(), "docker-credential-not-there") {
		t.Errorf("a helper that is not there: %v", err)
	}
}

func TestHelperStoresAndErases(t *testing.T) {
	state := filepath.Join(t.TempDir(), "secret")
	helper(t, `case "$1" in
store) cat >`+state+` ;;
erase) read -r registry || true; test "$registry" = r.example && rm `+state+` ;;
esac`)
	c := configured(t, `{"credsStore": "test", "auths": {"https://r.example/v1/": {}}}`)
	path, err := c.Store(t.Context(), "r.example", &containerv1.Credentials{Username: "u", Password: "p"})
	got, _ := os.ReadFile(state)
	if err != nil || path != "" || string(got) != `{"ServerURL":"r.example","Username":"u","Secret":"p"}` {
		t.Errorf("got %s, %q, %v", got, path, err)
	}

	if err := c.Erase(t.Context(), "r.example"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(state); err == nil {
		t.Error("the helper was not asked to erase")
	}

	helper(t, `echo "the keychain is locked"; exit 1`)
	_, err = c.Store(t.Context(), "r.example", &containerv1.Credentials{Username: "u", Password: "p"})
	if err == nil || !strings.Contains(err.Error(), "cannot store credentials for r.example (the keychain is locked)") {
		t.Errorf("got %v", err)
	}
}
