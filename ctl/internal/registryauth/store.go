package registryauth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/ctl/internal/imageref"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Server returns the key of a registry that a user names: a host, a URL, or nothing for Docker Hub.
func Server(name string) string {
	if host := hostname(name); host != "" && host != imageref.DockerHub && name != dockerHub {
		return host
	}
	return dockerHub
}

// Host returns the host of a key; empty means Docker Hub.
func Host(server string) string {
	if server == dockerHub {
		return ""
	}
	return hostname(server)
}

// Store stores credentials: with the helper of the registry, or in config.json, whose other content
// it keeps. The path is that of the file if it holds the password.
func (c *Config) Store(ctx context.Context, server string, cred *containerv1.Credentials) (path string, err error) {
	helper := c.Helper(server)
	if helper != "" {
		secret := struct{ ServerURL, Username, Secret string }{server, cred.GetUsername(), cred.GetPassword()}
		if cred.GetIdentityToken() != "" {
			secret.Username, secret.Secret = tokenUser, cred.GetIdentityToken()
		}
		input, err := json.Marshal(secret)
		if err != nil {
			return "", err
		}
		// Docker records the registry, without credentials, in the file too.
		return "", errors.Join(call(ctx, helper, "store", server, input), c.setAuth(server, Auth{}))
	}

	auth := Auth{IdentityToken: cred.GetIdentityToken()}
	if auth.IdentityToken == "" {
		auth.Auth = base64.StdEncoding.EncodeToString([]byte(cred.GetUsername() + ":" + cred.GetPassword()))
	}

	return c.path, c.setAuth(server, auth)
}

// Erase removes the credentials of a registry. It does nothing if there are none.
func (c *Config) Erase(ctx context.Context, server string) error {
	if helper := c.Helper(server); helper != "" {
		if err := call(ctx, helper, "erase", server, []byte(server)); err != nil {
			return err
		}
	}
	return c.change(func(auths map[string]json.RawMessage) error {
		for key := range auths {
			if hostname(key) == hostname(server) {
				delete(auths, key)
			}
		}
		return nil
	})
}

func (c *Config) setAuth(server string, a Auth) error {
	return c.change(func(auths map[string]json.RawMessage) error {
		entry := map[string]string{}
		if a.Auth != "" {
			entry["auth"] = a.Auth
		}
		if a.IdentityToken != "" {
			entry["identitytoken"] = a.IdentityToken
		}
		var err error
		auths[server], err = json.Marshal(entry)
		return err
	})
}

// change rewrites the entries of config.json. It keeps the rest of the file.
func (c *Config) change(edit func(auths map[string]json.RawMessage) error) error {
	failed := func(err error) error {
		return fault.New(fault.Invalid, "registry credentials in "+c.path, "cannot be written", fault.WithCause(err),
			fault.WithHint("set another directory with DOCKER_CONFIG"))
	}
	if c.path == "config.json" { // neither DOCKER_CONFIG nor HOME is set
		return failed(errors.New("HOME is not set"))
	}

	all, auths := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	text, err := os.ReadFile(c.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(err)
	}
	if err == nil {
		if err := json.Unmarshal(text, &all); err != nil {
			return failed(err)
		}
	}
	if all["auths"] != nil {
		if err := json.Unmarshal(all["auths"], &auths); err != nil {
			return failed(err)
		}
	}

	if auths == nil {
		auths = map[string]json.RawMessage{}
	}
	if err := edit(auths); err != nil {
		return failed(err)
	}
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	if all["auths"], err = json.Marshal(auths); err != nil {
		return failed(err)
	}
	out, err := json.MarshalIndent(all, "", "\t")
	if err == nil {
		err = replace(c.path, out)
	}
	if err != nil {
		return failed(err)
	}

	return nil
}

// replace writes a file atomically with mode 0600. A symlink is followed.
func replace(path string, data []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}

	f, err := os.CreateTemp(filepath.Dir(path), ".config.json.tmp-") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}

	return err
}

// call runs a credential helper with input on its standard input, so that no secret is in the
// arguments of a process.
func call(ctx context.Context, helper, action, server string, input []byte) error {
	program := helperPrefix + helper
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, program, action)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &output, &output
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(output.String())
		if action == "erase" && text == notFound {
			return nil
		}
		return fault.New(fault.Unavailable, "credential helper "+program,
			"cannot "+action+" credentials for "+server+" ("+strings.ReplaceAll(text, "\n", "; ")+")",
			fault.WithCause(err))
	}
	return nil
}
