package session

import (
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/logdriver"
)

// logSubject returns what the records of a container's log can be labeled with.
func logSubject(c *container.Container) logdriver.Subject {
	s := logdriver.Subject{ContainerID: c.ID, ContainerName: c.Config.Name, ContainerImageID: c.ImageID,
		ContainerImageName: c.Config.Image, ContainerEnv: c.Process.Env, ContainerLabels: c.Process.Labels,
		ContainerHostname: c.Config.DNS.Hostname, DaemonName: "fairlead-agent"}
	if len(c.Process.Args) > 0 {
		s.ContainerEntrypoint, s.ContainerArgs = c.Process.Args[0], c.Process.Args[1:]
	}
	return s
}
