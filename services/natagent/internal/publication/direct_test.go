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

// led is a binding of host ports that lead to ports of a container.
func led(proto publication.Protocol, host string, end uint16, to string, from sources.Set) publication.Binding {
	h, c := netip.MustParseAddrPort(host), netip.MustParseAddrPort(to)
	return publication.Binding{Protocol: proto, HostIP: h.Addr(), HostPort: h.Port(), HostPortEnd: end, ContainerIP: c.Addr(), ContainerPort: c.Port(),
		OwnerName: "web", Sources: from}
}

func TestWhatIsPublishedCanBeReachedAtTheContainersOwnAddress(t *testing.T) {
	const tcp, udp = publication.TCP, publication.UDP
	for _, row := range []struct {
		name     string
		bindings []publication.Binding
		want     string
	}{
		{"nothing", nil, ""},
		{"a port of each family", []publication.Binding{led(tcp, "0.0.0.0:8080", 0, "10.0.0.2:80", ""), led(tcp, "[::]:8080", 0, "[fd00::2]:80", "")},
			"10.0.0.2:80-0/tcp from ; [fd00::2]:80-0/tcp from "},
		{"the loopback's, a whole address, and its own already", []publication.Binding{led(tcp, "127.0.0.1:8080", 0, "10.0.0.2:80", ""), led(tcp, "[::1]:8080", 0, "[fd00::2]:80", ""),
			led(publication.All, "10.9.0.1:0", 0, "10.0.0.2:0", ""), led(tcp, "10.0.0.3:80", 0, "10.0.0.3:80", "")}, ""},
		{"one port by two", []publication.Binding{led(tcp, "0.0.0.0:8080", 0, "10.0.0.2:80", "10.1.0.0/16"), led(tcp, "10.9.0.1:9090", 0, "10.0.0.2:80", "10.2.0.0/16")},
			"10.0.0.2:80-0/tcp from 10.1.0.0/16,10.2.0.0/16"},
		{"one port by two, of which one is everybody's", []publication.Binding{led(tcp, "0.0.0.0:8080", 0, "10.0.0.2:80", "10.1.0.0/16"), led(tcp, "10.9.0.1:9090", 0, "10.0.0.2:80", "")},
			"10.0.0.2:80-0/tcp from "},
		{"a limited one that the loopback has too", []publication.Binding{led(tcp, "127.0.0.1:8080", 0, "10.0.0.2:80", ""), led(tcp, "10.9.0.1:9090", 0, "10.0.0.2:80", "10.2.0.0/16")},
			"10.0.0.2:80-0/tcp from 10.2.0.0/16"},
		{"within a run", []publication.Binding{led(udp, "0.0.0.0:1000", 1100, "10.0.0.2:1000", "10.1.0.0/16"), led(udp, "0.0.0.0:9", 0, "10.0.0.2:1050", ""), led(udp, "0.0.0.0:8", 0, "10.0.0.2:1000", "10.1.0.0/16")},
			"10.0.0.2:1000-0/udp from 10.1.0.0/16; 10.0.0.2:1001-1049/udp from 10.1.0.0/16; 10.0.0.2:1050-0/udp from ; 10.0.0.2:1051-1100/udp from 10.1.0.0/16"},
		{"up to the last port", []publication.Binding{led(udp, "0.0.0.0:65000", 65535, "10.0.0.2:65000", ""), led(tcp, "0.0.0.0:65535", 0, "10.0.0.2:65535", "")},
			"10.0.0.2:65000-65535/udp from ; 10.0.0.2:65535-0/tcp from "},
	} {
		p := publication.Publication{Bindings: slices.Clone(row.bindings)}
		all := p.WithDirect()
		if !slices.Equal(all[:len(row.bindings)], row.bindings) || !slices.Equal(p.Bindings, row.bindings) {
			t.Errorf("%s: the bindings themselves became %v", row.name, all)
		}
		var got []string
		for _, b := range all[len(row.bindings):] {
			if !b.Direct() || b.HostPort != b.ContainerPort || b.OwnerName != "web" {
				t.Errorf("%s: %+v is not the container's own", row.name, b)
			}
			got = append(got, fmt.Sprintf("%s-%d/%s from %s", b.Host(), b.HostPortEnd, b.Protocol, b.Sources))
		}
		if strings.Join(got, "; ") != row.want {
			t.Errorf("%s: %s\nwant %s", row.name, strings.Join(got, "; "), row.want)
		}
	}
}
