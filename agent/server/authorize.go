package server

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Audience is the kind of clients that the sockets of a server are for.
type Audience int

const (
	// Peers are the services of the agent: root or the agent's own user, on the socket of a
	// service. They may call every method.
	Peers Audience = iota
	// Admins are root, the agent's own user, members of the socket's group, and clients with a
	// certificate. They may call the methods for administrators.
	Admins
)

// role is the minimum role that a method requires.
type role int

const (
	peerRole  role = iota // another service of this host
	adminRole             // an administrator of this host, or a service
)

// refusal returns the error for unauthorized clients, without details.
func refusal() error {
	return fault.New(fault.Denied, "request", "permission denied",
		fault.WithHint("run as root or as a member of the socket's group"))
}

// internal returns the error for administrators that call a method of the services.
func internal(method string) error {
	return fault.New(fault.Denied, "method "+strings.TrimPrefix(method, "/"),
		"is reserved for the services of the agent",
		fault.WithHint("use the methods that the fairlead command uses"))
}

// authorize returns an error if a client may not call a method. Methods that are missing in the
// table are rejected.
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

// roles returns the authorization table, with every method of every service.
func roles() map[string]role {
	table := map[string]role{}
	for _, line := range []struct {
		service string
		least   role
		methods string
	}{
		{"fairlead.container.v1.ContainerService", adminRole,
			"RunContainer CreateContainer StartContainer AttachContainer ExecContainer " +
				"StopContainer RestartContainer KillContainer RemoveContainer RenameContainer ConnectNetwork " +
				"DisconnectNetwork PublishPorts UnpublishPorts " +
				"WaitContainer ListContainers GetContainer ReadLogs WatchEvents"},
		{"fairlead.container.v1.ImageService", adminRole,
			"PullImage LoadImage ImportImage ListImages GetImage TagImage RemoveImage PruneImages SaveImages " +
				"PushImage GetImageHistory GetRemoteImage SearchImages CheckCredentials"},
		{"fairlead.agent.v1.ConfigService", adminRole, "GetConfig ReloadConfig"},
		{"fairlead.host.v1.HostService", adminRole, "GetInfo Diagnose Check"},
		{"fairlead.network.v1.NetworkService", adminRole,
			"ListNetworks GetNetwork CreateNetwork UpdateNetwork WaitNetwork DeleteNetwork PruneNetworks " +
				"Diagnose Check WatchEvents"},
		{"fairlead.network.v1.SandboxService", adminRole, "GetSandbox ListSandboxes"},
		{"fairlead.network.v1.SandboxService", peerRole,
			"CreateSandbox ConnectEndpoint DisconnectEndpoint ReserveAddresses WatchSandboxes " +
				"RenumberSandbox CompleteRenumbering Release"},
		{"fairlead.nat.v1.PublicationService", adminRole, "ListPublications ExplainConnection"},
		{"fairlead.nat.v1.PublicationService", peerRole,
			"Publish UpdatePublication CheckHostFirewall Release DrainConnections DeleteConntrack"},
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

// AdminServices returns the services whose names start with prefix and that have a method for
// administrators.
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
