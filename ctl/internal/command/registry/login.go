// Package registry holds the commands login and logout.
package registry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/registryauth"
	"github.com/fairlead/fairlead/ctl/internal/terminal"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Commands returns the commands of the top level.
func Commands() []cli.Command {
	return []cli.Command{{Name: "login", New: newLogin}, {Name: "logout", New: newLogout}}
}

type loginOptions struct {
	user, password string
	stdin          bool
}

func newLogin(c *cli.CLI) *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login [OPTIONS] [SERVER]",
		Short: "Log in to a registry",
		Long: `Log in to a registry. The default is Docker Hub.

The agent verifies the credentials. They are stored where Docker stores them: in the credential helper
of config.json, or in that file.`,
		Example: "  $ fairlead login -u me --password-stdin registry.example.com <token",
		Args:    cli.RangeArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd, c); err != nil {
				return err
			}
			return o.run(cmd.Context(), c, registryauth.Server(append(args, "")[0]))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.user, "username", "u", "", "User name")
	f.StringVarP(&o.password, "password", "p", "", "Password or token; - reads it from standard input")
	f.BoolVar(&o.stdin, "password-stdin", false, "Read the password from standard input")
	return cmd
}

// check validates the flags and reads the password from standard input.
func (o *loginOptions) check(cmd *cobra.Command, c *cli.CLI) error {
	given := cmd.Flags().Changed
	if o.password == "-" {
		o.password, o.stdin = "", true
	} else if o.stdin && given("password") {
		return errors.New("conflicting options: cannot specify both --password and --password-stdin")
	}
	switch {
	case o.stdin && !given("username"):
		return errors.New("the --password-stdin option requires --username to be set")
	case given("username") && o.user == "":
		return errors.New("username is empty")
	case given("password") && o.password == "" && !o.stdin:
		return errors.New("password is empty")
	case o.password != "":
		c.Warn("using --password on the command line is insecure, use --password-stdin")
	}
	if !o.stdin {
		return nil
	}

	text, err := io.ReadAll(io.LimitReader(c.In, maxPassword))
	if err != nil {
		return err
	}
	o.password = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if strings.TrimSpace(o.password) == "" {
		return errors.New("password is empty")
	}

	return nil
}

// maxPassword limits the password on standard input. Tokens can be some KiB.
const maxPassword = 64 << 10

func (o *loginOptions) run(ctx context.Context, c *cli.CLI, server string) error {
	if o.user == "" && o.password == "" {
		if done, err := o.existing(ctx, c, server); done || err != nil {
			return err
		}
	}
	if err := o.prompt(c); err != nil {
		return err
	}

	credentials := &containerv1.Credentials{Username: o.user, Password: o.password}
	if err := verify(ctx, c, server, credentials); err != nil {
		return err
	}

	path, err := c.StoreCredentials(ctx, server, credentials)
	if err != nil {
		return err
	}
	if path != "" {
		c.Warn("the password is stored unencrypted in " + path + "; configure a credential helper (credsStore)")
	}
	c.Println("Login Succeeded")

	return nil
}

// existing tries the stored credentials. done is true if the registry accepts them.
func (o *loginOptions) existing(ctx context.Context, c *cli.CLI, server string) (done bool, err error) {
	found, err := c.StoredCredentials(ctx, server)
	if err != nil || found == nil {
		return false, err
	}
	_, _ = fmt.Fprintf(c.Err, "Authenticating with existing credentials... [Username: %s]\n", found.GetUsername())
	if err := verify(ctx, c, server, found); err != nil {
		if terminal.Of(c.In) == nil {
			return false, err
		}
		c.Warn("login did not succeed: " + err.Error())
		return false, nil
	}
	c.Println("Login Succeeded")
	return true, nil
}

// prompt asks for what the flags do not have.
func (o *loginOptions) prompt(c *cli.CLI) error {
	if o.user != "" && o.password != "" {
		return nil
	}
	tty := terminal.Of(c.In)
	if tty == nil {
		return errors.New("cannot perform an interactive login from a non-TTY device")
	}

	if o.user == "" {
		_, _ = fmt.Fprint(c.Err, "Username: ")
		line, err := bufio.NewReader(c.In).ReadString('\n')
		if o.user = strings.TrimSpace(line); err != nil || o.user == "" {
			return errors.New("username is empty")
		}
	}

	_, _ = fmt.Fprint(c.Err, "Password: ")
	password, err := tty.ReadPassword()
	_, _ = fmt.Fprintln(c.Err)
	if o.password = password; err != nil || password == "" {
		return errors.New("password is empty")
	}

	return nil
}

// verify asks the agent to check credentials with the registry.
func verify(ctx context.Context, c *cli.CLI, server string, credentials *containerv1.Credentials) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	_, err = cl.Images.CheckCredentials(ctx, &containerv1.CheckCredentialsRequest{
		Server: registryauth.Host(server), Credentials: credentials})
	return err
}

func newLogout(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "logout [SERVER]",
		Short: "Log out from a registry",
		Long:  "Log out from a registry: remove its stored credentials. The default is Docker Hub.",
		Args:  cli.RangeArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			server := registryauth.Server(append(args, "")[0])
			c.Println("Removing login credentials for " + server)
			return c.EraseCredentials(cmd.Context(), server)
		},
	}
}
