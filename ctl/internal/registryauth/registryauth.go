// Package registryauth reads and stores the credentials for a registry in Docker's config.json or in
// the credential helper that it names. It does not verify them.
package registryauth

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/ctl/internal/imageref"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Config is the registry part of Docker's config.json.
type Config struct {
	Auths       map[string]Auth   `json:"auths"`
	CredHelpers map[string]string `json:"credHelpers"`
	CredsStore  string            `json:"credsStore"`

	path string
}

// Auth is the entry of one registry.
type Auth struct {
	Auth          string `json:"auth"` // base64 of USER:PASSWORD
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
}

// Dir returns the directory of Docker's config.json: DOCKER_CONFIG, or .docker in the home
// directory. It is empty if neither is set.
func Dir(lookup func(string) (string, bool)) string {
	if dir, _ := lookup("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	if home, _ := lookup("HOME"); home != "" {
		return filepath.Join(home, ".docker")
	}
	return ""
}

// Open reads config.json in a directory. A missing file is an empty Config.
func Open(dir string) (*Config, error) {
	c := &Config{path: filepath.Join(dir, "config.json")}
	if dir == "" {
		return c, nil
	}

	text, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(text, c)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "registry credentials in "+c.path, "cannot be read", fault.WithCause(err),
			fault.WithHint("correct the file, or set another directory with DOCKER_CONFIG"))
	}

	return c, nil
}

// dockerHub is the key of Docker Hub's credentials.
const dockerHub = "https://index.docker.io/v1/"

// Registry returns the key of an image's registry.
func Registry(image string) string {
	if domain := imageref.Parse(image).Domain; domain != imageref.DockerHub {
		return domain
	}
	return dockerHub
}

// Helper returns the name of the credential helper for a registry. It is empty if the file holds
// the credentials.
func (c *Config) Helper(registry string) string {
	return cmp.Or(c.CredHelpers[registry], c.CredHelpers[hostname(registry)], c.CredsStore)
}

// Stored returns the credentials for a registry that the file holds, or nil.
func (c *Config) Stored(registry string) (*containerv1.Credentials, error) {
	a, ok := c.Auths[registry]
	if !ok {
		for key, other := range c.Auths {
			if hostname(key) == hostname(registry) {
				a, ok = other, true
				break
			}
		}
	}

	if !ok || a == (Auth{}) {
		return nil, nil
	}

	return a.credentials(c.path, registry)
}

func (a Auth) credentials(path, registry string) (*containerv1.Credentials, error) {
	if a.IdentityToken != "" {
		return &containerv1.Credentials{IdentityToken: a.IdentityToken}, nil
	}
	if a.Auth == "" {
		return &containerv1.Credentials{Username: a.Username, Password: a.Password}, nil
	}

	pair, err := base64.StdEncoding.DecodeString(a.Auth)
	user, password, ok := strings.Cut(strings.TrimRight(string(pair), "\x00"), ":")
	if err != nil || !ok {
		return nil, fault.New(fault.Invalid, "registry credentials in "+path,
			"the auth of "+registry+" is not the base64 of USER:PASSWORD",
			fault.WithHint("log in to the registry again"))
	}

	return &containerv1.Credentials{Username: user, Password: password}, nil
}

// hostname returns the host of a key, which can be a URL.
func hostname(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, _, _ := strings.Cut(key, "/")
	return host
}
