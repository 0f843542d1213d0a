// Command fairlead-agent runs the Fairlead services of a host, or only the named one.
package main

import (
	"os"

	"github.com/fairlead/fairlead/agent"
	"github.com/fairlead/fairlead/services/supervisor/buildplugin"
)

func main() {
	if status, called := buildplugin.Run(os.Args[0]); called {
		os.Exit(status)
	}
	os.Exit(agent.Main(services()))
}
