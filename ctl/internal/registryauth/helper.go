package registryauth

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

const (
	// helperPrefix is the prefix of the names of credential helpers.
	helperPrefix = "docker-credential-"
	// notFound is the output of a helper for an unknown registry.
	notFound = "credentials not found in native keychain"
	// tokenUser is the user name that marks an identity token.
	tokenUser = "<token>"
)

// Ask requests the credentials for a registry from a helper. It returns nil if the helper has none.
// The protocol is that of https://github.com/docker/docker-credential-helpers: the registry on
// standard input, JSON on standard output.
func Ask(ctx context.Context, helper, registry string) (*containerv1.Credentials, error) {
	program := helperPrefix + helper
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(registry), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		output := strings.TrimSpace(stdout.String() + stderr.String())
		if output == notFound {
			return nil, nil
		}
		return nil, failed(program, registry, err, output)
	}

	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
		return nil, failed(program, registry, err, "")
	}
	if answer.Username == tokenUser {
		return &containerv1.Credentials{IdentityToken: answer.Secret}, nil
	}

	return &containerv1.Credentials{Username: answer.Username, Password: answer.Secret}, nil
}

func failed(program, registry string, err error, output string) error {
	message := "cannot return credentials for " + registry
	if output != "" {
		message += " (" + strings.ReplaceAll(output, "\n", "; ") + ")"
	}
	return fault.New(fault.Unavailable, "credential helper "+program, message, fault.WithCause(err))
}
