// Package cli is what every command has in hand: the streams, the connection, the environment, and the ways to end. It knows
// no command.
package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/escape"
	"github.com/fairlead/fairlead/ctl/internal/progress"
	"github.com/fairlead/fairlead/ctl/internal/terminal"
)

// EnvHost names the agent in the environment.
const EnvHost = "FAIRLEAD_HOST"

// CLI is one run of the program. Its fields are set once, before a command runs.
type CLI struct {
	In         io.Reader
	Out, Err   io.Writer
	LookupEnv  func(string) (string, bool)
	Now        func() time.Time
	Interrupts *Interrupts

	// Host is the value of -H; empty if it is not given.
	Host string
	// TLS is what is said of certificates.
	TLS TLS
	// Debug is -D: name each step of a launch.
	Debug bool

	client *client.Client
}

// Client gives the connection to the agent that the user means: -H, then FAIRLEAD_HOST, then the default.
func (c *CLI) Client() (*client.Client, error) {
	if c.client != nil {
		return c.client, nil
	}
	host := c.Host
	if host == "" {
		host, _ = c.LookupEnv(EnvHost)
	}
	if host == "" {
		host = client.DefaultHost
	}
	options, err := c.tls(host)
	if err != nil {
		return nil, err
	}
	cl, err := client.Dial(host, options...)
	c.client = cl
	return cl, err
}

// Close ends the connection, if there was one.
func (c *CLI) Close() {
	if c.client != nil {
		_ = c.client.Close()
	}
}

// Screen is where commands write what is not a container's own output: standard output, on a terminal without control characters.
func (c *CLI) Screen() io.Writer {
	if terminal.Of(c.Out) == nil {
		return c.Out
	}
	return escape.Writer(c.Out)
}

// Printf writes to standard output.
func (c *CLI) Printf(format string, args ...any) { _, _ = fmt.Fprintf(c.Screen(), format, args...) }

// Println writes a line to standard output.
func (c *CLI) Println(line string) { c.Printf("%s\n", line) }

// PrintError writes an error on one line of standard error.
func (c *CLI) PrintError(err error) { _, _ = fmt.Fprintf(c.Err, "fairlead: %s\n", oneLine(err)) }

// Warn writes warnings to standard error, one line each.
func (c *CLI) Warn(warnings ...string) {
	for _, w := range warnings {
		_, _ = fmt.Fprintf(c.Err, "WARNING: %s\n", escape.Line(w))
	}
}

// Progress gives the printer for what comes before a container runs or an image is there. Quiet shows nothing.
func (c *CLI) Progress(quiet bool) progress.Printer {
	if quiet {
		return progress.Silent()
	}
	return progress.New(c.Err, c.Debug, c.Now)
}

// oneLine writes an error without line ends, which joined errors have between them, and without control characters, which may come
// from an image or a label.
func oneLine(err error) string {
	return escape.Line(joined(err))
}

func joined(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
