package client_test

import (
	"errors"
	"log"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// exampleAgent starts an agent for the examples. It runs "web", and "sort" as a filter.
func exampleAgent() (host string, stop func()) {
	a, host, err := clienttest.Start(clienttest.Script{
		"RunContainer": {{Serve: runExample}},
		"ListContainers": {clienttest.Answers(&containerv1.ListContainersResponse{Containers: []*containerv1.Container{{
			Config: &containerv1.ContainerConfig{Name: "web"}, Bindings: []*natv1.PortBinding{{
				Protocol: natv1.Protocol_PROTOCOL_TCP, HostIp: "0.0.0.0", HostPort: 8080, ContainerIp: "172.17.0.2",
				ContainerPort: 80}}}}})},
		"GetNetwork": {clienttest.Fails(fault.NotFoundf("network app", "not found"))},
	})
	if err != nil {
		log.Fatal(err)
	}
	return host, func() { _ = a.Close() }
}

// runExample runs a container of an example.
func runExample(first proto.Message, s clienttest.Stream) error {
	cfg := first.(*containerv1.RunContainerRequest).GetRun().GetConfig()
	if err := s.Send(started("4f53cda18c2baa0c0354bb5f9a3ecbe5")); err != nil || cfg.GetName() == "web" {
		return err
	}

	var input strings.Builder
	for closed := false; !closed; {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		in := m.(*containerv1.RunContainerRequest).GetInput()
		input.Write(in.GetStdin())
		closed = in.GetStdinClosed()
	}
	lines := strings.SplitAfter(input.String(), "\n")
	slices.Sort(lines)
	sorted := output(containerv1.StreamKind_STREAM_KIND_STDOUT, strings.Join(lines, ""))
	return errors.Join(s.Send(sorted), s.Send(exited(0)))
}
