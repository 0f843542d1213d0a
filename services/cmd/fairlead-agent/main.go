// Command fairlead-agent runs the Fairlead services of a host, or only the named one.
package main

import (
	"os"

	"github.com/fairlead/fairlead/agent"
)

func main() { os.Exit(agent.Main(services())) }
