package server

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Audience is for whom a server's sockets are.
type Audience int

const (
	// Peers are the agent's own services: root or our own user, on a service's socket. They may call everything there.
	Peers Audience = iota
	// Admins are root, our own user, members of the socket's group, and clients with a certificate. They may call what is theirs.
	Admins
)

// role is the least that a method asks of its caller.
type role int

const (
	peerRole  role = iota // another service of this host
	adminRole             // an administrator of this host, too
)

// refusal is all that a caller without a right is told.
func refusal() error {
	return fault.New(fault.Denied, "request", "permission denied",
		fault.WithHint("run as root or as a member of the socket's group"))
}

// internal refuses a caller who may administer the host: whoever it is, the method is not for this socket.
func internal(method string) error {
	return fault.New(fault.Denied, "method "+strings.TrimPrefix(method, "/"), "only other services of the agent may call it",
		fault.WithHint("call what the fairlead command calls; the README names the services"))
}

// authorize tells whether a caller may call a method. A method that is in no line of the table is nobody's.
func authorize(table map[string]role, audience Audience, who identity, method string) error {
	least, listed := table[method]
	switch {
	case !listed:
	case audience == Peers && who.isAgentUser():
		return nil
	case audience == Admins && least == adminRole && who.isAdmin():
		return nil
	case audience == Admins && who.isAdmin():
		return internal(method)
	}
	return refusal()
}

// roles is the authorization table: each method of each service has a line.
func roles() map[string]role {
	table := map[string]role{}
	for _, line := range []struct {
		service string
		least   role
		methods string
	}{
		{"fairlead.container.v1.ContainerService", adminRole, "RunContainer CreateContainer StartContainer AttachContainer ExecContainer " +
			"StopContainer RestartContainer KillContainer RemoveContainer RenameContainer ConnectNetwork DisconnectNetwork PublishPorts UnpublishPorts " +
			"WaitContainer ListContainers GetContainer ReadLogs WatchEvents"},
		{"fairlead.container.v1.ImageService", adminRole, "PullImage LoadImage ImportImage ListImages GetImage TagImage RemoveImage"},
		{"fairlead.agent.v1.ConfigService", adminRole, "GetConfig ReloadConfig"},
		{"fairlead.host.v1.HostService", adminRole, "GetInfo Diagnose Check"},
		{"fairlead.network.v1.NetworkService", adminRole, "ListNetworks GetNetwork CreateNetwork UpdateNetwork WaitNetwork DeleteNetwork PruneNetworks " +
			"Diagnose Check WatchEvents"},
		{"fairlead.network.v1.SandboxService", adminRole, "GetSandbox ListSandboxes"},
		{"fairlead.network.v1.SandboxService", peerRole, "CreateSandbox ConnectEndpoint DisconnectEndpoint ReserveAddresses WatchSandboxes " +
			"RenumberSandbox CompleteRenumbering Release"},
		{"fairlead.nat.v1.PublicationService", adminRole, "ListPublications ExplainConnection"},
		{"fairlead.nat.v1.PublicationService", peerRole, "Publish UpdatePublication CheckHostFirewall Release DrainConnections DeleteConntrack"},
		{"fairlead.nat.v1.FirewallService", adminRole, "ListNetworks Diagnose Check"},
		{"fairlead.nat.v1.FirewallService", peerRole, "PutNetwork DeleteNetwork"},
		{"fairlead.dns.v1.NameService", adminRole, "ListOwners Check"},
		{"fairlead.dns.v1.NameService", peerRole, "Register Update Release"},
		{"grpc.health.v1.Health", adminRole, "Check List Watch"},
		{"grpc.reflection.v1.ServerReflection", adminRole, "ServerReflectionInfo"},
		{"grpc.reflection.v1alpha.ServerReflection", adminRole, "ServerReflectionInfo"},
	} {
		for method := range strings.FieldsSeq(line.methods) {
			table["/"+line.service+"/"+method] = line.least
		}
	}
	return table
}

// AdminServices lists the services, among those whose names start with prefix, of which administrators may call something.
func AdminServices(prefix string) []string {
	var all []string
	for method, least := range roles() {
		name := method[1:strings.LastIndexByte(method, '/')]
		if least == adminRole && strings.HasPrefix(name, prefix) && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
