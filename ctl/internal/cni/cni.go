// Package cni implements the commands of the CNI plugin fairlead-cni: it attaches network namespaces
// that a container runtime created to networks of Fairlead. It converts CNI's configuration and results
// and calls netagent, natagent and dnsagent.
//
// It stores nothing: netagent keeps the sandbox of each container, with labels that name the CNI
// configuration of each interface. It does not read the environment and enters no namespace.
// Command fairlead-cni calls it.
package cni

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Labels of endpoints.
const (
	labelNetwork = "cni.network" // the name of the CNI configuration
	labelNames   = "cni.names"   // the names on the network, separated by commas
)

// resolverAddress is the address of the embedded resolver in each namespace.
const resolverAddress = "127.0.0.11"

// defaultBridge is the network without names.
const defaultBridge = "bridge"

// Plugin implements the commands of CNI. Its errors are faults; Error converts them.
type Plugin struct {
	Networks     networkv1.NetworkServiceClient
	Sandboxes    networkv1.SandboxServiceClient
	Publications natv1.PublicationServiceClient
	Names        dnsv1.NameServiceClient
	// Ready returns an error if a service is not ready.
	Ready func(context.Context) error
}

// Attachment identifies one interface of a container. It has the parameters of CNI's commands.
type Attachment struct {
	ContainerID string
	Interface   string
	Namespace   string            // a path; may be empty for DEL
	Args        map[string]string // CNI_ARGS
}

// ParseArgs parses CNI_ARGS: KEY=VALUE;….
func ParseArgs(text string) (map[string]string, error) {
	args := map[string]string{}
	for pair := range strings.SplitSeq(text, ";") {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fault.Invalidf("CNI_ARGS", "CNI_ARGS", "%q is not KEY=VALUE", pair)
		}
		args[key] = value
	}
	return args, nil
}

// Owner returns the owner of a container's sandbox. It never is the ID of a container of Fairlead.
func Owner(containerID string) string {
	sum := sha256.Sum256([]byte("cni " + containerID))
	return hex.EncodeToString(sum[:])
}

// displayName returns the name of the container in messages of the services.
func (a Attachment) displayName() string {
	if name := a.Args["K8S_POD_NAME"]; name != "" {
		return name
	}
	return a.ContainerID
}

// endpointOf returns the endpoint of an attachment. ok is false if there is none.
func endpointOf(sb *networkv1.Sandbox, interfaceName string) (e *networkv1.Endpoint, ok bool) {
	for _, e := range sb.GetEndpoints() {
		if e.GetInterfaceName() == interfaceName {
			return e, true
		}
	}
	return nil, false
}
