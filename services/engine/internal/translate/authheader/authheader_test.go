package authheader_test

import (
	"encoding/base64"
	"net/http"
	"testing"

	"google.golang.org/protobuf/proto"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/translate/authheader"
)

func TestCredentialsOfHeaders(t *testing.T) {
	const password = `{"username":"me","password":"p>?~ü?>"}`
	me := &containerv1.Credentials{Username: "me", Password: "p>?~ü?>"}
	for name, c := range map[string]struct {
		header string
		want   *containerv1.Credentials
	}{
		"URL form":                 {base64.URLEncoding.EncodeToString([]byte(password)), me},
		"URL form without padding": {base64.RawURLEncoding.EncodeToString([]byte(password)), me},
		"standard form":            {base64.StdEncoding.EncodeToString([]byte(password)), me},
		"none":                     {"", nil},
		"empty object":             {base64.URLEncoding.EncodeToString([]byte("{}")), nil},
		"no base64":                {"!", nil},
		"no JSON":                  {base64.URLEncoding.EncodeToString([]byte("me:secret")), nil},
		"identity token": {base64.URLEncoding.EncodeToString([]byte(`{"identitytoken":"t"}`)),
			&containerv1.Credentials{IdentityToken: "t"}},
		"joined": {base64.URLEncoding.EncodeToString([]byte(`{"auth":"` + base64.StdEncoding.EncodeToString([]byte("me:p:q")) + `"}`)),
			&containerv1.Credentials{Username: "me", Password: "p:q"}},
	} {
		got := authheader.Credentials(http.Header{"X-Registry-Auth": {c.header}})
		if !proto.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestAllOfABuild(t *testing.T) {
	h := http.Header{}
	h.Set("X-Registry-Config", base64.URLEncoding.EncodeToString([]byte(`{
		"https://index.docker.io/v1/": {"username": "hub", "password": "p1"},
		"registry.example:5000": {"auth": "dXNlcjpwMg=="},
		"https://other.example": {"identitytoken": "token"}}`)))
	for host, want := range map[string][2]string{"registry-1.docker.io": {"hub", "p1"}, "docker.io": {"hub", "p1"},
		"registry.example:5000": {"user", "p2"}, "other.example": {"", "token"}, "none.example": {}} {
		if user, password := authheader.All(h)(host); user != want[0] || password != want[1] {
			t.Errorf("%s: got %q, %q", host, user, password)
		}
	}
	h.Set("X-Registry-Config", "no base64!")
	if _, password := authheader.All(h)("docker.io"); password != "" {
		t.Errorf("got %q of a broken header", password)
	}
}
