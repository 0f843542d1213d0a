package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/proto/port/portpb"
)

// A web server in the background, on a host port.
func Example() {
	host, stop := exampleAgent() // in programs: client.DefaultHost
	defer stop()

	ctx := context.Background()
	c, err := client.Dial(host)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	mapping, err := port.Parse("8080:80")
	if err != nil {
		log.Fatal(err)
	}
	started, err := c.RunDetached(ctx, &containerv1.RunOptions{Config: &containerv1.ContainerConfig{
		Name:    "web",
		Image:   "nginx",
		Network: &containerv1.NetworkConfig{Publish: []*natv1.PortMapping{portpb.MappingToProto(mapping)}},
	}}, nil)
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println(started.GetId()[:12])
	// Output: 4f53cda18c2b
}

// A filter with a string as input, and its exit code.
func ExampleClient_Run() {
	host, stop := exampleAgent() // in programs: client.DefaultHost
	defer stop()

	c, err := client.Dial(host)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	s, err := c.Run(context.Background(), &containerv1.RunOptions{Config: &containerv1.ContainerConfig{
		Image: "busybox", Command: []string{"sort"}, OpenStdin: true, AutoRemove: true,
	}}, nil)
	if err != nil {
		log.Fatal(err)
	}

	code, err := s.Pipe(client.Stdio{In: strings.NewReader("b\na\n"), Out: os.Stdout, Err: os.Stderr})
	fmt.Println(code, err)
	// Output:
	// a
	// b
	// 0 <nil>
}

// The containers with their ports.
func ExampleClient_ListContainers() {
	host, stop := exampleAgent() // in programs: client.DefaultHost
	defer stop()

	c, err := client.Dial(host)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	all, err := c.ListContainers(context.Background(), false)
	if err != nil {
		log.Fatal(err)
	}
	for _, ctr := range all {
		bindings, err := portpb.BindingsFromProto(ctr.GetBindings())
		if err != nil {
			log.Fatal(err)
		}
		for _, b := range bindings {
			fmt.Println(ctr.GetConfig().GetName(), b.HostPort(), "->", b.Target())
		}
	}
	// Output: web 0.0.0.0:8080 -> 172.17.0.2:80
}

// Errors have a kind, a reason that does not change, and a hint.
func ExampleClient_networks() {
	host, stop := exampleAgent() // in programs: client.DefaultHost
	defer stop()

	c, err := client.Dial(host)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	_, err = c.Networks.GetNetwork(context.Background(), &networkv1.GetNetworkRequest{Reference: "app"})
	if fault.Is(err, fault.NotFound) {
		fmt.Println("create it first:", err)
	}
	// Output: create it first: network app: not found
}
