package publication_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// binding returns a binding of host ports to ports of a container.
func binding(proto port.Protocol, host string, end uint16, to string, from port.Sources) port.Binding {
	h, c := netip.MustParseAddrPort(host), netip.MustParseAddrPort(to)
	return port.Binding{Protocol: proto, HostIP: h.Addr(), Host: span(h.Port(), end), ContainerIP: c.Addr(),
		Container: span(c.Port(), end), OwnerName: "web", Sources: from}
}

func TestWithDirectAddsContainerPorts(t *testing.T) {
	const tcp, udp = port.TCP, port.UDP
	for _, row := range []struct {
		name     string
		bindings []port.Binding
		want     string
	}{
		{"nothing", nil, ""},
		{"a port of each family", []port.Binding{binding(tcp, "0.0.0.0:8080", 0, "10.0.0.2:80", ""),
			binding(tcp, "[::]:8080", 0, "[fd00::2]:80", "")},
			"10.0.0.2:80-80/tcp from ; [fd00::2]:80-80/tcp from "},
		{"loopback, published address, already direct",
			[]port.Binding{binding(tcp, "127.0.0.1:8080", 0, "10.0.0.2:80", ""),
				binding(tcp, "[::1]:8080", 0, "[fd00::2]:80", ""),
				binding(port.All, "10.9.0.1:0", 0, "10.0.0.2:0", ""),
				binding(tcp, "10.0.0.3:80", 0, "10.0.0.3:80", "")},
			""},
		{"one port of two bindings", []port.Binding{binding(tcp, "0.0.0.0:8080", 0, "10.0.0.2:80",
			"10.1.0.0/16"),
			binding(tcp, "10.9.0.1:9090", 0, "10.0.0.2:80", "10.2.0.0/16")},
			"10.0.0.2:80-80/tcp from 10.1.0.0/16,10.2.0.0/16"},
		{"one port of two bindings, one without sources",
			[]port.Binding{binding(tcp, "0.0.0.0:8080", 0, "10.0.0.2:80", "10.1.0.0/16"),
				binding(tcp, "10.9.0.1:9090", 0, "10.0.0.2:80", "")},
			"10.0.0.2:80-80/tcp from "},
		{"limited sources and loopback", []port.Binding{binding(tcp, "127.0.0.1:8080", 0, "10.0.0.2:80",
			""), binding(tcp, "10.9.0.1:9090", 0, "10.0.0.2:80", "10.2.0.0/16")},
			"10.0.0.2:80-80/tcp from 10.2.0.0/16"},
		{"port within a range", []port.Binding{binding(udp, "0.0.0.0:1000", 1100, "10.0.0.2:1000",
			"10.1.0.0/16"),
			binding(udp, "0.0.0.0:9", 0, "10.0.0.2:1050", ""),
			binding(udp, "0.0.0.0:8", 0, "10.0.0.2:1000", "10.1.0.0/16")},
			"10.0.0.2:1000-1000/udp from 10.1.0.0/16; 10.0.0.2:1001-1049/udp from 10.1.0.0/16; " +
				"10.0.0.2:1050-1050/udp from ; 10.0.0.2:1051-1100/udp from 10.1.0.0/16"},
		{"up to the last port", []port.Binding{binding(udp, "0.0.0.0:65000", 65535, "10.0.0.2:65000", ""),
			binding(tcp, "0.0.0.0:65535", 0, "10.0.0.2:65535", "")},
			"10.0.0.2:65000-65535/udp from ; 10.0.0.2:65535-65535/tcp from "},
	} {
		p := publication.Publication{Bindings: slices.Clone(row.bindings)}
		all := p.WithDirect()
		if !slices.Equal(all[:len(row.bindings)], row.bindings) || !slices.Equal(p.Bindings, row.bindings) {
			t.Errorf("%s: the bindings changed to %v", row.name, all)
		}
		var got []string
		for _, b := range all[len(row.bindings):] {
			if !b.Direct() || b.Host != b.Container || b.OwnerName != "web" {
				t.Errorf("%s: %+v is not direct", row.name, b)
			}
			got = append(got, fmt.Sprintf("%s-%d/%s from %s", b.HostPort(), b.Host.Last, b.Protocol, b.Sources))
		}
		if strings.Join(got, "; ") != row.want {
			t.Errorf("%s: got %s\nwant %s", row.name, strings.Join(got, "; "), row.want)
		}
	}
}
