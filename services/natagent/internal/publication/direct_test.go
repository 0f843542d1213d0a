package publication_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// binding returns a binding of host ports to ports of a container.
func binding(proto publication.Protocol, host string, end uint16, to string, from sources.Set) publication.Binding {
	h, c := netip.MustParseAddrPort(host), netip.MustParseAddrPort(to)
	return publication.Binding{Protocol: proto, HostIP: h.Addr(), HostPort: h.Port(), HostPortEnd: end,
		ContainerIP: c.Addr(), ContainerPort: c.Port(),
		OwnerName: "web", Sources: from}
}

func TestWithDirectAddsContainerPorts(t *testing.T) {
	const tcp, udp = publication.TCP, publication.UDP
	for _, row := range []struct {
		name     string
		bindings []publication.Binding
		want     string
	}{
		{"nothing", nil, ""},
		{"a port of each family", []publication.Binding{binding(tcp, "0.0.0.0:8080", 0, "10.0.0.2:80", ""),
			binding(tcp, "[::]:8080", 0, "[fd00::2]:80", "")},
			"10.0.0.2:80-0/tcp from ; [fd00::2]:80-0/tcp from "},
		{"loopback, published address, already direct",
			[]publication.Binding{binding(tcp, "127.0.0.1:8080", 0, "10.0.0.2:80", ""),
				binding(tcp, "[::1]:8080", 0, "[fd00::2]:80", ""),
				binding(publication.All, "10.9.0.1:0", 0, "10.0.0.2:0", ""),
				binding(tcp, "10.0.0.3:80", 0, "10.0.0.3:80", "")},
			""},
		{"one port of two bindings", []publication.Binding{binding(tcp, "0.0.0.0:8080", 0, "10.0.0.2:80",
			"10.1.0.0/16"),
			binding(tcp, "10.9.0.1:9090", 0, "10.0.0.2:80", "10.2.0.0/16")},
			"10.0.0.2:80-0/tcp from 10.1.0.0/16,10.2.0.0/16"},
		{"one port of two bindings, one without sources",
			[]publication.Binding{binding(tcp, "0.0.0.0:8080", 0, "10.0.0.2:80", "10.1.0.0/16"),
				binding(tcp, "10.9.0.1:9090", 0, "10.0.0.2:80", "")},
			"10.0.0.2:80-0/tcp from "},
		{"limited sources and loopback", []publication.Binding{binding(tcp, "127.0.0.1:8080", 0, "10.0.0.2:80",
			""), binding(tcp, "10.9.0.1:9090", 0, "10.0.0.2:80", "10.2.0.0/16")},
			"10.0.0.2:80-0/tcp from 10.2.0.0/16"},
		{"port within a range", []publication.Binding{binding(udp, "0.0.0.0:1000", 1100, "10.0.0.2:1000",
			"10.1.0.0/16"),
			binding(udp, "0.0.0.0:9", 0, "10.0.0.2:1050", ""),
			binding(udp, "0.0.0.0:8", 0, "10.0.0.2:1000", "10.1.0.0/16")},
			"10.0.0.2:1000-0/udp from 10.1.0.0/16; 10.0.0.2:1001-1049/udp from 10.1.0.0/16; 10.0.0.2:1050-0/udp " +
				"from ; 10.0.0.2:1051-1100/udp from 10.1.0.0/16"},
		{"up to the last port", []publication.Binding{binding(udp, "0.0.0.0:65000", 65535, "10.0.0.2:65000", ""),
			binding(tcp, "0.0.0.0:65535", 0, "10.0.0.2:65535", "")},
			"10.0.0.2:65000-65535/udp from ; 10.0.0.2:65535-0/tcp from "},
	} {
		p := publication.Publication{Bindings: slices.Clone(row.bindings)}
		all := p.WithDirect()
		if !slices.Equal(all[:len(row.bindings)], row.bindings) || !slices.Equal(p.Bindings, row.bindings) {
			t.Errorf("%s: the bindings changed to %v", row.name, all)
		}
		var got []string
		for _, b := range all[len(row.bindings):] {
			if !b.Direct() || b.HostPort != b.ContainerPort || b.OwnerName != "web" {
				t.Errorf("%s: %+v is not direct", row.name, b)
			}
			got = append(got, fmt.Sprintf("%s-%d/%s from %s", b.Host(), b.HostPortEnd, b.Protocol, b.Sources))
		}
		if strings.Join(got, "; ") != row.want {
			t.Errorf("%s: got %s\nwant %s", row.name, strings.Join(got, "; "), row.want)
		}
	}
}
