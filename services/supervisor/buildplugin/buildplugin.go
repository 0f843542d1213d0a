// Package buildplugin is the program of the agent as the plugin that connects build steps to the network.
// Command fairlead-agent calls it first. BuildKit runs the program under the name of the plugin.
package buildplugin

import (
	"os"

	"github.com/fairlead/fairlead/services/supervisor/internal/buildnet"
)

// Run runs the plugin if the program was called as one, and returns its exit status.
func Run(program string) (status int, called bool) {
	call := buildnet.Call{Program: program, Env: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout}
	if !call.IsPlugin() {
		return 0, false
	}
	return call.Run(), true
}
