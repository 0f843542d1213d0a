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
	// helperPrefix begins the name of every credential helper's program.
	helperPrefix = "docker-credential-"
	// notFound is what a helper says of a registry that it does not know.
	notFound = "credentials not found in native keychain"
	// tokenUser is the user name with which a helper marks an identity token.
	tokenUser = "<token>"
)

// Ask gets the credentials for a registry from a helper, nil if it has none. The protocol is that of
// https://github.com/docker/docker-credential-helpers: the registry on standard input, JSON on standard output.
func Ask(ctx context.Context, helper, registry string) (*containerv1.Credentials, error) {
	program := helperPrefix + helper
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(registry), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stdout.String() + stderr.String())
		if said == notFound {
			return nil, nil
		}
		return nil, failed(program, registry, err, said)
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

func failed(program, registry string, err error, said string) error {
	message := "cannot be asked for " + registry
	if said != "" {
		message += " (" + strings.ReplaceAll(said, "\n", "; ") + ")"
	}
	return fault.New(fault.Unavailable, "credential helper "+program, message, fault.WithCause(err))
}
