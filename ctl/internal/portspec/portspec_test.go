package portspec_test

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/ctl/internal/portspec"
)

func TestParsePublish(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.168.8.115"), netip.MustParseAddr("::1")
	for spec, want := range map[string]portspec.Mapping{
		"80":                    {Protocol: "tcp", ContainerPort: 80},
		"80/":                   {Protocol: "tcp", ContainerPort: 80},
		"53/UDP":                {Protocol: "udp", ContainerPort: 53},
		"8080:80":               {Protocol: "tcp", HostPort: 8080, ContainerPort: 80},
		":80":                   {Protocol: "tcp", ContainerPort: 80},
		"0:80":                  {Protocol: "tcp", ContainerPort: 80},
		"0:80-82":               {Protocol: "tcp", ContainerPort: 80, ContainerPortEnd: 82},
		"192.168.8.115::80":     {Protocol: "tcp", HostIP: v4, ContainerPort: 80},
		"192.168.8.115:8888:80": {Protocol: "tcp", HostIP: v4, HostPort: 8888, ContainerPort: 80},
		"[::1]:86:86/sctp":      {Protocol: "sctp", HostIP: v6, HostPort: 86, ContainerPort: 86},
		"[::1]::86":             {Protocol: "tcp", HostIP: v6, ContainerPort: 86},
		"::1:86:87":             {Protocol: "tcp", HostIP: v6, HostPort: 86, ContainerPort: 87},
		"8083-8085:83-85/udp": {Protocol: "udp", HostPort: 8083, HostPortEnd: 8085, ContainerPort: 83,
			ContainerPortEnd: 85},
		"90-91:92":        {Protocol: "tcp", HostPort: 90, HostPortEnd: 91, ContainerPort: 92},
		"80-85":           {Protocol: "tcp", ContainerPort: 80, ContainerPortEnd: 85},
		"7000-7000:80-80": {Protocol: "tcp", HostPort: 7000, ContainerPort: 80},
		"1-65535:1-65535": {Protocol: "tcp", HostPort: 1, HostPortEnd: 65535, ContainerPort: 1,
			ContainerPortEnd: 65535},
		"192.168.8.115::80-81": {Protocol: "tcp", HostIP: v4, ContainerPort: 80, ContainerPortEnd: 81},
		"8080:80,from=10.1.0.0/16,from=10.0.0.0/8": {Protocol: "tcp", HostPort: 8080, ContainerPort: 80,
			Sources: "10.0.0.0/8"},
		"[::1]::53/udp,from=fd00::1": {Protocol: "udp", HostIP: v6, ContainerPort: 53,
			Sources: "fd00::1/128"},
		"::ffff:192.168.8.115::1": {Protocol: "tcp", HostIP: v4, ContainerPort: 1},
	} {
		if got, err := portspec.Parse(spec); err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", spec, got, err, want)
		}
	}
}

func TestInvalidPublishMatchesDockerErrors(t *testing.T) {
	for spec, want := range map[string]string{
		"70000:80":            "invalid hostPort: 70000",
		"x:80":                "invalid hostPort: x",
		"0-5:80":              "invalid hostPort: 0-5",
		"85-80:80-85":         "invalid hostPort: 85-80",
		"80:x":                "invalid containerPort: x",
		"80:0":                "invalid containerPort: 0",
		"80-79:80-79":         "invalid containerPort: 80-79",
		"80-81-82":            "invalid containerPort: 80-81-82",
		"+80":                 "invalid containerPort: +80",
		"80:65536":            "invalid containerPort: 65536",
		"80/foo":              "invalid proto: foo",
		"8000-8002:80-81":     "invalid ranges specified for container and host Ports: 80-81 and 8000-8002",
		"80:80-81":            "invalid ranges specified for container and host Ports: 80-81 and 80",
		"1.2.3:80:80":         "invalid IP address: 1.2.3",
		"[1.2.3.4]:80:80":     "invalid IP address: [1.2.3.4]",
		"[fe80::1%eth0]:80:8": "invalid IP address: [fe80::1%eth0]",
		"[::1]:80:80:80":      "invalid IP address: [::1]:80",
		"80,":                 `unknown option "": use from=CIDR`,
		"80,to=1.2.3.4":       `unknown option "to=1.2.3.4": use from=CIDR`,
		"80,from=lan":         `invalid source "lan": it should be a network such as 10.0.0.0/8, or an address`,
		"80,from=10.1.0.0/8":  `invalid source "10.1.0.0/8": it should be 10.0.0.0/8`,
		"":                    "no port specified: <empty>",
		"8080:":               "no port specified: 8080:<empty>",
		"8080:/tcp":           "no port specified: 8080:/tcp<empty>",
	} {
		_, err := portspec.Parse(spec)
		if err == nil || err.Error() != "-p "+spec+": "+want {
			t.Errorf("Parse(%q): %v; want %q", spec, err, want)
		}
	}
}

func TestParseExposed(t *testing.T) {
	for spec, want := range map[string]portspec.Exposed{
		"80":           {Protocol: "tcp", Port: 80},
		"53/udp":       {Protocol: "udp", Port: 53},
		"90-92/SCTP":   {Protocol: "sctp", Port: 90, End: 92},
		"7000-7000":    {Protocol: "tcp", Port: 7000},
		"1-65535/tcp":  {Protocol: "tcp", Port: 1, End: 65535},
		"65535-65535/": {Protocol: "tcp", Port: 65535},
	} {
		if got, err := portspec.ParseExposed(spec); err != nil || got != want {
			t.Errorf("ParseExposed(%q) = %+v, %v; want %+v", spec, got, err, want)
		}
	}

	for spec, want := range map[string]string{
		"foo": "invalid range format for --expose: foo", "0": "invalid range format", "9-8": "invalid range format",
		"80:80": "invalid port format for --expose: 80:80", "80/foo": "invalid proto: foo", "": "invalid range format",
	} {
		if _, err := portspec.ParseExposed(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseExposed(%q): %v; want %q", spec, err, want)
		}
	}
}

func TestMappingRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := mapping(t)
		if got, err := portspec.Parse(m.String()); err != nil || got != m {
			t.Fatalf("Parse(%q) = %+v, %v; want %+v", m, got, err, m)
		}
	})
}

func mapping(t *rapid.T) portspec.Mapping {
	m := portspec.Mapping{Protocol: rapid.SampledFrom([]string{"tcp", "udp", "sctp"}).Draw(t, "protocol")}
	if ip := rapid.SampledFrom([]string{"", "0.0.0.0", "10.1.2.3", "::", "2001:db8::7"}).Draw(t, "ip"); ip != "" {
		m.HostIP = netip.MustParseAddr(ip)
	}

	m.Sources = rapid.SampledFrom([]sources.Set{"", "10.0.0.0/8", "10.0.0.0/8,fd00::/8"}).Draw(t, "sources")
	n := rapid.Uint16Range(0, 100).Draw(t, "more")
	m.ContainerPort = rapid.Uint16Range(1, 65000).Draw(t, "container")
	if n > 0 && rapid.Bool().Draw(t, "range") {
		m.ContainerPortEnd = m.ContainerPort + n
	}
	if rapid.Bool().Draw(t, "fixed") {
		m.HostPort = rapid.Uint16Range(1, 65000).Draw(t, "host")
		if n > 0 {
			m.HostPortEnd = m.HostPort + n
		}
		if m.HostPortEnd != 0 && m.ContainerPortEnd == 0 && rapid.Bool().Draw(t, "one") {
			m.HostPortEnd = 0
		}
	}

	return m
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"80", "8080:80/udp", "[::1]:1-2:3-4", "1.2.3.4::5", "::::", "[]:1:1", "-:-", "80/"} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, s string) {
		m, err := portspec.Parse(s)
		if err != nil {
			return
		}
		if again, err := portspec.Parse(m.String()); err != nil || again != m {
			t.Fatalf("%q was read as %+v, which is written %q and read as %+v, %v", s, m, m, again, err)
		}
		if m.ContainerPort == 0 || (m.ContainerPortEnd != 0 && m.ContainerPortEnd <= m.ContainerPort) {
			t.Fatalf("%q gave the container ports %d-%d", s, m.ContainerPort, m.ContainerPortEnd)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"192.168.8.116", "[fd00::1],outgoing=false", "10.0.0.1,from=10.0.0.0/8,from=::/0",
		"1.2.3.4,", ",from="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := portspec.ParseAddress(s); err == nil &&
			(!a.HostIP.IsValid() || a.HostIP.Is4In6() || a.HostIP.Zone() != "") {
			t.Fatalf("%q gave the address %q", s, a.HostIP)
		}
	})
}

func FuzzParseExposed(f *testing.F) {
	for _, s := range []string{"80", "80-90/udp", "0", "90-80", "80/", "1-65535/sctp"} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, s string) {
		e, err := portspec.ParseExposed(s)
		if err != nil {
			return
		}
		if e.Port == 0 || e.End != 0 && e.End <= e.Port || e.Protocol != "tcp" && e.Protocol != "udp" &&
			e.Protocol != "sctp" {
			t.Fatalf("%q gave %+v", s, e)
		}
	})
}
