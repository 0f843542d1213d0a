// Package job is what the machine that runs tests is told by the command that starts it. It is for those two programs and nobody else.
package job

import (
	"fmt"
	"strings"
)

// File is where a Job stands, in JSON, in the machine's first file system.
const File = "job.json"

// HostTag names the file system that the outer machine shares.
const HostTag = "host"

// The numbers of the serial ports of the machine.
const (
	OutputPort = 1 // carries what the commands print
	StatusPort = 2 // carries one line at the end
	RemotePort = 3 // carries what a machine on a wire is asked to do; see package remote
)

// Job is all that a machine has to do before it turns itself off.
type Job struct {
	Hostname  string
	Modules   []string  // kernel modules in the first file system, in the order in which they are to be loaded
	ModuleDir string    // the folder on the outer machine of all modules, as depmod leaves it
	Checkout  string    // the project's folder on the outer machine, which stays in sight wherever it is
	Env       []string  // of every command
	Commands  []Command // to be run one after the other
	Remote    bool      // the machine is on a wire, and runs then what it is asked to by the serial port
}

// Command is one thing to run.
type Command struct {
	Title string // what a line about its end calls it; without a title there is no such line
	Dir   string
	Args  []string // the first is an absolute path
}

// statusWord begins the last line.
const statusWord = "exit"

// Status is the line that tells how the job went: with 0, or the exit code of the first command that failed.
func Status(code int) string { return fmt.Sprintf("%s %d\n", statusWord, code) }

// ParseStatus is the way back. A machine that broke off has written no such line.
func ParseStatus(line string) (code int, ok bool) {
	n, err := fmt.Sscanf(strings.TrimSpace(line), statusWord+" %d", &code)
	return code, err == nil && n == 1
}
