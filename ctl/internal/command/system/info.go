// Package system holds the commands for the agent and its host, and inspect for all kinds of
// objects.
package system

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Commands returns the system commands of the top level.
func Commands() []cli.Command {
	return []cli.Command{
		{Name: "info", New: newInfo}, {Name: "events", New: newEvents}, {Name: "doctor", New: newDoctor},
		{Name: "version", New: newVersion}, {Name: "inspect", New: newInspect},
	}
}

// info holds the fields of `info`, which can be used in templates.
type info struct {
	Version              string
	ServerVersion        string // Docker's name for the same
	APIVersion           string
	KernelVersion        string
	OSType               string
	Architecture         string
	CgroupVersion        string
	DefaultRuntime       string
	DataRoot             string
	ExecRoot             string
	NetworkDrivers       []string
	DefaultNetworkDriver string
	FirewallBackend      string
	DefaultAddressPools  []string
	DockerHosts          []string // addresses for DOCKER_HOST
	DockerRootDir        string   // Docker's name for DataRoot
	Driver               string
	CgroupDriver         string
	LoggingDriver        string
	Containers           uint32
	ContainersCreated    uint32
	ContainersRunning    uint32
	ContainersExited     uint32
	ContainersPaused     uint32
	ContainersStopped    uint32
	Images               uint32
	Warnings             []string
}

// Info returns an empty info, for the completion of templates.
func Info() any { return info{} }

func newInfo(c *cli.CLI) *cobra.Command {
	var text string
	cmd := &cobra.Command{
		Use:   "info [OPTIONS]",
		Short: "Show information about the host and the agent",
		Args:  cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showInfo(cmd.Context(), c, text)
		},
	}
	cmd.Flags().StringVarP(&text, "format", "f", "", "Output format: json or a Go template")
	return cmd
}

func showInfo(ctx context.Context, c *cli.CLI, text string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	res, err := cl.Host.GetInfo(ctx, &hostv1.GetInfoRequest{})
	if err != nil {
		return err
	}

	i := infoOf(res)
	more(ctx, cl, &i)
	if text != "" {
		return format.Print(c.Screen(), text, "", info{}, []info{i})
	}

	c.Printf("%s", i)
	c.Warn(i.Warnings...)
	return nil
}

func infoOf(r *hostv1.GetInfoResponse) info {
	i := info{Version: r.GetVersion(), ServerVersion: r.GetVersion(), APIVersion: r.GetApiVersion(),
		KernelVersion: r.GetKernelVersion(), OSType: r.GetOs(), Architecture: r.GetArchitecture(),
		CgroupVersion: r.GetCgroupVersion(), DefaultRuntime: r.GetRuntime(), DataRoot: r.GetDataRoot(),
		ExecRoot:       r.GetExecRoot(),
		NetworkDrivers: r.GetNetworkDrivers(), DefaultNetworkDriver: r.GetDefaultNetworkDriver(),
		ContainersCreated: r.GetContainers()["created"],
		ContainersRunning: r.GetContainers()["running"] + r.GetContainers()["restarting"],
		ContainersPaused:  r.GetContainers()["paused"],
		ContainersExited:  r.GetContainers()["exited"], Images: r.GetImages(), Warnings: r.GetWarnings()}
	i.DockerRootDir, i.Driver, i.CgroupDriver, i.LoggingDriver = i.DataRoot, "overlay", "cgroupfs", "k8s-file"
	i.ContainersStopped = i.ContainersExited + i.ContainersCreated
	for _, n := range r.GetContainers() {
		i.Containers += n
	}

	return i
}

// more adds the information of other services. One that does not respond adds a warning.
func more(ctx context.Context, cl *client.Client, i *info) {
	guards, err := cl.Firewall.Diagnose(ctx, &natv1.DiagnoseRequest{BackendOnly: true})
	if i.FirewallBackend = guards.GetBackend(); err != nil {
		i.Warnings = append(i.Warnings, "natagent is not responding: "+err.Error())
	}

	networks, err := cl.Networks.ListNetworks(ctx, &networkv1.ListNetworksRequest{})
	if err != nil {
		i.Warnings = append(i.Warnings, "netagent is not responding: "+err.Error())
	}

	for _, n := range networks.GetNetworks() {
		i.Warnings = append(i.Warnings, n.GetWarnings()...)
	}

	config, err := cl.Config.GetConfig(ctx, &agentv1.GetConfigRequest{})
	if err != nil {
		i.Warnings = append(i.Warnings, "configuration cannot be read: "+err.Error())
	}

	for _, s := range config.GetSettings() {
		for _, v := range s.GetValues() {
			switch s.GetKey() {
			case "default-address-pools":
				i.DefaultAddressPools = append(i.DefaultAddressPools, v.GetText())
			case "docker-hosts":
				if strings.Contains(v.GetText(), ":///") || strings.HasPrefix(v.GetText(), "tcp:") {
					i.DockerHosts = append(i.DockerHosts, v.GetText())
				}
			}
		}
	}

	if len(i.DefaultAddressPools) == 0 && err == nil {
		i.DefaultAddressPools = []string{"Docker's"}
	}
}

// String formats the information as text.
func (i info) String() string {
	var out strings.Builder
	line := func(name string, value any) { _, _ = fmt.Fprintf(&out, "%s: %v\n", name, value) }
	line("Agent Version", i.Version)
	line("API Version", i.APIVersion)
	line("Containers", i.Containers)
	line(" Running", i.ContainersRunning)
	line(" Created", i.ContainersCreated)
	line(" Exited", i.ContainersExited)
	line("Images", i.Images)
	line("Network Drivers", strings.Join(i.NetworkDrivers, " "))
	line("Default Network Driver", i.DefaultNetworkDriver)
	line("Firewall Backend", i.FirewallBackend)
	line("Default Address Pools", strings.Join(i.DefaultAddressPools, ", "))
	line("Default Runtime", i.DefaultRuntime)
	line("Cgroup Version", i.CgroupVersion)
	line("Kernel Version", i.KernelVersion)
	line("OS/Arch", i.OSType+"/"+i.Architecture)
	line("Data Root", i.DataRoot)
	line("Exec Root", i.ExecRoot)
	for _, host := range i.DockerHosts {
		line("Docker's Clients", "export DOCKER_HOST="+host)
	}
	return out.String()
}
