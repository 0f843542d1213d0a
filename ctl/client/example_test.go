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
)

// A web server in the background, on a host port.
func Example() {
	ctx := context.Background()
	c, err := client.Dial(client.DefaultHost)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	started, err := c.RunDetached(ctx, &containerv1.RunOptions{Config: &containerv1.ContainerConfig{
		Name:  "web",
		Image: "nginx",
		Network: &containerv1.NetworkConfig{Publish: []*natv1.PortMapping{
			{Protocol: natv1.Protocol_PROTOCOL_TCP, HostPort: 8080, ContainerPort: 80},
		}},
	}}, nil)
	if fault.ReasonOf(err) == fault.ReasonPortAllocated {
		log.Fatal("choose another port: ", err)
	}
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println(started.GetId())
}

// A filter with a string as input and its exit code.
func ExampleClient_Run() {
	ctx := context.Background()
	c, err := client.Dial("unix:///run/fairlead/fairlead.sock")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	s, err := c.Run(ctx, &containerv1.RunOptions{Config: &containerv1.ContainerConfig{
		Image: "busybox", Command: []string{"sort"}, OpenStdin: true, AutoRemove: true,
	}}, nil)
	if err != nil {
		log.Fatal(err)
	}

	code, err := s.Pipe(client.Stdio{In: strings.NewReader("b\na\n"), Out: os.Stdout, Err: os.Stderr})
	fmt.Println(code, err)
}
