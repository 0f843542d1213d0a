// Package cli holds what all commands share: streams, connection, environment and exit codes. It
// does not depend on a command.
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
	"github.com/fairlead/fairlead/proto/fault"
)

// Environment variables of the connection.
const (
	EnvHost = "FAIRLEAD_HOST" // the agent address
	EnvNode = "FAIRLEAD_NODE" // the host of the fleet that runs the command
	// EnvTrace is the trace that the calls of the command are part of: a traceparent of W3C Trace Context.
	EnvTrace = "TRACEPARENT"
)

// CLI is one run of the program. Its fields are set before a command runs.
type CLI struct {
	In         io.Reader
	Out, Err   io.Writer
	LookupEnv  func(string) (string, bool)
	Now        func() time.Time
	Interrupts *Interrupts

	// Host is the value of -H.
	Host string
	// Node is the value of --node.
	Node string
	// TLS holds the TLS flags.
	TLS TLS
	// Debug is -D: print each launch step.
	Debug bool

	client   *client.Client
	allNodes bool // the command is for all hosts of the fleet
}

// Client returns a client of the agent at -H, FAIRLEAD_HOST or the default address, in this order.
// The client is created once.
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

	node, err := c.NodeName()
	if err != nil {
		return nil, err
	}
	if parent, _ := c.LookupEnv(EnvTrace); isTrace(parent) {
		options = append(options, client.WithTrace(parent))
	}
	cl, err := client.Dial(host, append(options, client.WithNode(node))...)
	c.client = cl
	return cl, err
}

// isTrace reports whether a value of EnvTrace can be sent. Other programs set the variable.
func isTrace(parent string) bool {
	return parent != "" && strings.Trim(parent, "0123456789abcdef-") == ""
}

// NodeName returns the host of the fleet at --node or FAIRLEAD_NODE. It is empty without both.
func (c *CLI) NodeName() (string, error) {
	node := c.Node
	if node == "" && !c.allNodes {
		node, _ = c.LookupEnv(EnvNode)
	}
	if strings.Trim(node, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "", fault.New(fault.Invalid, fmt.Sprintf("host %q", node), "is not the name or ID of a host",
			fault.WithField("node"), fault.WithHint("see fairlead fleet ls"))
	}
	return node, nil
}

// Close closes the client.
func (c *CLI) Close() {
	if c.client != nil {
		_ = c.client.Close()
	}
}

// Screen returns standard output for text of the command itself. On a terminal, control characters
// are escaped.
func (c *CLI) Screen() io.Writer {
	if terminal.Of(c.Out) == nil {
		return c.Out
	}
	return escape.Writer(c.Out)
}

// Printf formats to standard output.
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

// Progress returns the printer for pulls and launch steps. Quiet prints nothing.
func (c *CLI) Progress(quiet bool) progress.Printer {
	if quiet {
		return progress.Silent()
	}
	return progress.New(c.Err, c.Debug, c.Now)
}

// oneLine formats an error on one line. Line ends of joined errors become semicolons; control
// characters are escaped.
func oneLine(err error) string {
	return escape.Line(joined(err))
}

func joined(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
