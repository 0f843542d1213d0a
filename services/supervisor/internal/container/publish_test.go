package container_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// span returns a range. A last port of 0 means a single port.
func span(first, last uint16) port.Range { return port.Range{First: first, Last: max(first, last)} }

func tcpPort(hostIP string, host, hostEnd, ctr, ctrEnd uint16) port.Mapping {
	m := port.Mapping{Protocol: port.TCP, Host: span(host, hostEnd), Container: span(ctr, ctrEnd)}
	if hostIP != "" {
		m.HostIP = netip.MustParseAddr(hostIP)
	}
	return m
}

func texts(mappings []port.Mapping) string {
	var out []string
	for _, m := range mappings {
		out = append(out, m.String())
	}
	return strings.Join(out, " ")
}

func TestUnpublishedRemovesSelectedMappings(t *testing.T) {
	c := &container.Container{Config: container.Config{Name: "web", Image: "nginx"}}
	c.Config.Network.Publish = []port.Mapping{tcpPort("", 8080, 0, 80, 0),
		tcpPort("127.0.0.1", 8081, 0, 80, 0),
		tcpPort("", 0, 0, 443, 0), tcpPort("", 7000, 7002, 70, 72)}
	c.Live = &container.RunState{}
	bind := func(ip string, host, ctr uint16) {
		c.Live.Bindings = append(c.Live.Bindings,
			port.Binding{Protocol: port.TCP, HostIP: netip.MustParseAddr(ip), Host: port.Single(host),
				Container: port.Single(ctr)})
	}

	bind("0.0.0.0", 8080, 80)
	bind("127.0.0.1", 8081, 80)
	bind("0.0.0.0", 32768, 443)
	for i := range uint16(3) {
		bind("0.0.0.0", 7000+i, 70+i)
	}

	for _, row := range []struct {
		selection    port.Mapping
		config, live string // what stays; empty config: it is refused
	}{
		{tcpPort("", 0, 0, 80, 0), "443/tcp 7000-7002:70-72/tcp", "32768:443/tcp 7000:70/tcp 7001:71/tcp 7002:72/tcp"},
		{tcpPort("", 8080, 0, 80, 0), "127.0.0.1:8081:80/tcp 443/tcp 7000-7002:70-72/tcp",
			"127.0.0.1:8081:80/tcp 32768:443/tcp 7000:70/tcp 7001:71/tcp 7002:72/tcp"},
		{tcpPort("127.0.0.1", 0, 0, 80, 0), "8080:80/tcp 443/tcp 7000-7002:70-72/tcp",
			"8080:80/tcp 32768:443/tcp 7000:70/tcp 7001:71/tcp 7002:72/tcp"},
		{tcpPort("", 32768, 0, 443, 0), "8080:80/tcp 127.0.0.1:8081:80/tcp 7000-7002:70-72/tcp",
			"8080:80/tcp 127.0.0.1:8081:80/tcp 7000:70/tcp 7001:71/tcp 7002:72/tcp"},
		{tcpPort("", 0, 0, 70, 72), "8080:80/tcp 127.0.0.1:8081:80/tcp 443/tcp",
			"8080:80/tcp 127.0.0.1:8081:80/tcp 32768:443/tcp"},
		{tcpPort("", 0, 0, 71, 0), "", ""},
		{tcpPort("", 32769, 0, 443, 0), "", ""},
		{tcpPort("10.0.0.1", 0, 0, 80, 0), "", ""},
		{port.Mapping{Protocol: port.UDP, Container: port.Single(80)}, "", ""},
	} {
		out, live, err := c.Unpublished([]port.Mapping{row.selection}, nil, false)
		switch {
		case row.config == "" && !fault.Is(err, fault.NotFound):
			t.Errorf("%s: got %v, want error", row.selection, err)
		case row.config != "" && err != nil:
			t.Errorf("%s: %v", row.selection, err)
		case err == nil && (texts(out.Config.Network.Publish) != row.config || texts(live) != row.live):
			t.Errorf("%s: got %s and live %s, want %s and %s", row.selection, texts(out.Config.Network.Publish),
				texts(live), row.config, row.live)
		}
	}

	if n := len(c.Config.Network.Publish); n != 4 {
		t.Errorf("container modified: got %d mappings", n)
	}
}

func TestDuplicatePublishRejected(t *testing.T) {
	c := &container.Container{Config: container.Config{Name: "web", Image: "nginx"}}
	c.Config.Network.Publish = []port.Mapping{tcpPort("", 8080, 0, 80, 0), tcpPort("", 0, 0, 80, 0)}
	if _, err := c.Published([]port.Mapping{tcpPort("", 8080, 0, 80, 0)}, nil); !fault.Is(err, fault.Exists) {
		t.Errorf("got %v", err)
	}

	out, err := c.Published([]port.Mapping{tcpPort("", 0, 0, 80, 0)},
		[]port.Address{{HostIP: netip.MustParseAddr("10.0.0.1")}})
	if err != nil || len(out.Config.Network.Publish) != 3 || len(out.Config.Network.Addresses) != 1 {
		t.Errorf("additional ephemeral port and address: %v", err)
	}

	if _, err := out.Published(nil, out.Config.Network.Addresses); !fault.Is(err, fault.Exists) {
		t.Errorf("duplicate address: got %v", err)
	}
}
