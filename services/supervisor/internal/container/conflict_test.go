package container

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
)

// The conflicts of Docker's options are refused, subject first.
func TestConflictsOfDockerAreRefused(t *testing.T) {
	p80 := port.Range{First: 80, Last: 80}
	options := map[string]func(*Config){
		"hostname":   func(c *Config) { c.DNS.Hostname = "h" },
		"domainname": func(c *Config) { c.DNS.Domainname = "d" },
		"publish": func(c *Config) {
			c.Network.Publish = []port.Mapping{{Protocol: port.TCP, Container: p80}}
		},
		"publish all": func(c *Config) { c.Network.PublishAll = true },
		"expose":      func(c *Config) { c.Network.Expose = []port.Exposed{{Protocol: port.TCP, Ports: p80}} },
		"dns":         func(c *Config) { c.DNS.Servers = []string{"10.0.0.1"} },
		"dns search":  func(c *Config) { c.DNS.Search = []string{"x"} },
		"add-host":    func(c *Config) { c.DNS.ExtraHosts = []string{"a:10.0.0.1"} },
		"link":        func(c *Config) { c.Network.Links = []Link{{Container: "a", Alias: "b"}} },
		"uts host":    func(c *Config) { c.UTS, c.DNS.Hostname = UTSHost, "h" },
		"uts mode":    func(c *Config) { c.UTS = "private" },
		"ip": func(c *Config) {
			c.Network.Attachments = []Attachment{{Network: string(c.Network.Mode),
				IPv4: netip.MustParseAddr("10.0.0.9")}}
		},
		"alias": func(c *Config) {
			c.Network.Attachments = []Attachment{{Network: string(c.Network.Mode), Aliases: []string{"a"}}}
		},
		"mac": func(c *Config) {
			c.Network.Attachments = []Attachment{{Network: string(c.Network.Mode), MAC: "02:42:00:00:00:01"}}
		},
		"second network": func(c *Config) {
			c.Network.Attachments = []Attachment{{Network: string(c.Network.Mode)}, {Network: "n1"}}
		},
		"restart and rm": func(c *Config) { c.AutoRemove, c.Restart = true, RestartPolicy{Name: "always"} },
		"init and pid":   func(c *Config) { yes := true; c.Init, c.Namespaces.PID = &yes, "host" },
		"nothing":        func(*Config) {},
	}
	const conflict = "conflicting options: "
	for mode, cases := range map[Mode]map[string]string{
		"container:a": {"hostname": conflict + "hostname and the network mode",
			"domainname":     conflict + "hostname and the network mode",
			"publish":        conflict + "port publishing and the container type network mode",
			"publish all":    conflict + "port publishing and the container type network mode",
			"expose":         conflict + "port exposing and the container type network mode",
			"dns":            conflict + "dns and the network mode",
			"dns search":     conflict + "dns and the network mode",
			"add-host":       conflict + "custom host-to-IP mapping and the network mode",
			"link":           conflict + "container type network can't be used with links",
			"second network": conflict, "mac": conflict + "mac-address and the network mode"},
		"host": {"link": conflict + "host type networking can't be used with links",
			"publish":        "ports cannot be published",
			"second network": conflict + "cannot attach both user-defined and non-user-defined network-modes",
			"mac":            conflict + "mac-address and the network mode"},
		"none":   {"publish": "ports cannot be published", "second network": conflict + "cannot attach both"},
		"bridge": {"ip": "user-specified IP address is supported on user-defined networks only"},
		"n1":     {"uts host": conflict + "hostname and the UTS mode", "uts mode": "invalid UTS mode: private"},
		"": {"restart and rm": conflict + "cannot specify both --restart and --rm",
			"init and pid": conflict + "init"},
		"container:": {"nothing": "invalid network mode: invalid container format container:<name|id>"},
	} {
		for what, want := range cases {
			c := Config{Name: "web", Image: "busybox", Network: Network{Mode: mode}}
			options[what](&c)
			err := c.Validate()
			if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "container web: ") ||
				!strings.Contains(err.Error(), want) {
				t.Errorf("%s and %s: got %v, want %q", mode, what, err, want)
			}
		}
	}
}
