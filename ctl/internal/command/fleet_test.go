package command_test

import (
	"testing"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// TestFleetLeaveNamesContainers checks that a host does not leave silently with containers on its networks.
func TestFleetLeaveNamesContainers(t *testing.T) {
	on := func(name, driver string) *containerv1.Container {
		return &containerv1.Container{Id: name, Config: &containerv1.ContainerConfig{Name: name},
			Sandbox: &networkv1.Sandbox{
				Endpoints: []*networkv1.Endpoint{{Driver: "bridge"}, {Driver: driver}}}}
	}
	script := func(all ...*containerv1.Container) clienttest.Script {
		return clienttest.Script{
			"ListContainers": {clienttest.Answers(&containerv1.ListContainersResponse{Containers: all})},
			"LeaveFleet":     {clienttest.Answers(&fleetv1.LeaveFleetResponse{})},
		}
	}
	forced := script()
	delete(forced, "ListContainers")
	const left = "This host has left the fleet.\n"
	checkAll(t, []row{
		{args: "fleet leave", script: script(on("web", "bridge")), stdout: left},
		{args: "fleet leave", script: script(on("web", "overlay"), on("db", "overlay"), on("other", "bridge")), code: 1,
			stderr: "fairlead: this host: has running containers on networks of the fleet: db, web; " +
				"stop them, or use --force: they lose these networks\n"},
		{args: "fleet leave -f", script: forced, stdout: left},
	})
}
