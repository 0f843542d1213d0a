// Package job defines what the command vm sends to the init process of a test machine. Both
// programs are its only users.
package job

import (
	"fmt"
	"strings"
)

// File is the path of the Job, in JSON, in the first file system of the machine.
const File = "job.json"

// HostTag names the shared file system of the outer machine.
const HostTag = "host"

// Numbers of the serial ports.
const (
	OutputPort = 1 // output of the commands
	StatusPort = 2 // status line at the end
	RemotePort = 3 // requests to a machine on a hub; see package remote
)

// Job lists what the machine does before it turns itself off.
type Job struct {
	Hostname  string
	Modules   []string  // kernel modules in the first file system, in load order
	ModuleDir string    // directory of all kernel modules on the outer machine
	Checkout  string    // project directory on the outer machine
	Env       []string  // environment of every command
	Commands  []Command // run sequentially
	Remote    bool      // the machine is on a hub and then serves requests of the serial port
}

// Command is a command to run.
type Command struct {
	Title string // printed with its result; empty: no result is printed
	Dir   string
	Args  []string // the first one is an absolute path
}

// statusWord starts the last line.
const statusWord = "exit"

// Status formats the result of the job: 0, or the exit code of the first failed command.
func Status(code int) string { return fmt.Sprintf("%s %d\n", statusWord, code) }

// ParseStatus parses the line of Status. A machine that crashed has not written it.
func ParseStatus(line string) (code int, ok bool) {
	n, err := fmt.Sscanf(strings.TrimSpace(line), statusWord+" %d", &code)
	return code, err == nil && n == 1
}
