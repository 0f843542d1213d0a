package port_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
)

func TestParsePublish(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.168.8.115"), netip.MustParseAddr("::1")
	for spec, want := range map[string]port.Mapping{
		"80":                    {Protocol: "tcp", Container: port.Single(80)},
		"80/":                   {Protocol: "tcp", Container: port.Single(80)},
		"53/UDP":                {Protocol: "udp", Container: port.Single(53)},
		"8080:80":               {Protocol: "tcp", Host: port.Single(8080), Container: port.Single(80)},
		":80":                   {Protocol: "tcp", Container: port.Single(80)},
		"0:80":                  {Protocol: "tcp", Container: port.Single(80)},
		"0:80-82":               {Protocol: "tcp", Container: port.Range{First: 80, Last: 82}},
		"192.168.8.115::80":     {Protocol: "tcp", HostIP: v4, Container: port.Single(80)},
		"192.168.8.115:8888:80": {Protocol: "tcp", HostIP: v4, Host: port.Single(8888), Container: port.Single(80)},
		"[::1]:86:86/sctp":      {Protocol: "sctp", HostIP: v6, Host: port.Single(86), Container: port.Single(86)},
		"[::1]::86":             {Protocol: "tcp", HostIP: v6, Container: port.Single(86)},
		"::1:86:87":             {Protocol: "tcp", HostIP: v6, Host: port.Single(86), Container: port.Single(87)},
		"8083-8085:83-85/udp": {Protocol: "udp", Host: port.Range{First: 8083, Last: 8085},
			Container: port.Range{First: 83, Last: 85}},
		"90-91:92":        {Protocol: "tcp", Host: port.Range{First: 90, Last: 91}, Container: port.Single(92)},
		"80-85":           {Protocol: "tcp", Container: port.Range{First: 80, Last: 85}},
		"7000-7000:80-80": {Protocol: "tcp", Host: port.Single(7000), Container: port.Single(80)},
		"1-65535:1-65535": {Protocol: "tcp", Host: port.Range{First: 1, Last: 65535},
			Container: port.Range{First: 1, Last: 65535}},
		"192.168.8.115::80-81": {Protocol: "tcp", HostIP: v4, Container: port.Range{First: 80, Last: 81}},
		"8080:80,from=10.1.0.0/16,from=10.0.0.0/8": {Protocol: "tcp", Host: port.Single(8080),
			Container: port.Single(80),
			Sources:   "10.0.0.0/8"},
		"[::1]::53/udp,from=fd00::1": {Protocol: "udp", HostIP: v6, Container: port.Single(53),
			Sources: "fd00::1/128"},
		"::ffff:192.168.8.115::1": {Protocol: "tcp", HostIP: v4, Container: port.Single(1)},
	} {
		if got, err := port.Parse(spec); err != nil || got != want {
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
		"224.0.0.1::80":       "invalid IP address: 224.0.0.1",
		"80,":                 `unknown option "": use from=CIDR`,
		"80,to=1.2.3.4":       `unknown option "to=1.2.3.4": use from=CIDR`,
		"80,from=lan":         `invalid source "lan": it should be a network such as 10.0.0.0/8, or an address`,
		"80,from=10.1.0.0/8":  `invalid source "10.1.0.0/8": it should be 10.0.0.0/8`,
		"":                    "no port specified: <empty>",
		"8080:":               "no port specified: 8080:<empty>",
		"8080:/tcp":           "no port specified: 8080:/tcp<empty>",
	} {
		_, err := port.Parse(spec)
		if err == nil || err.Error() != "-p "+spec+": "+want {
			t.Errorf("Parse(%q): %v; want %q", spec, err, want)
		}
	}
}

func TestParseExposed(t *testing.T) {
	for spec, want := range map[string]port.Exposed{
		"80":           {Protocol: "tcp", Ports: port.Single(80)},
		"53/udp":       {Protocol: "udp", Ports: port.Single(53)},
		"90-92/SCTP":   {Protocol: "sctp", Ports: port.Range{First: 90, Last: 92}},
		"7000-7000":    {Protocol: "tcp", Ports: port.Single(7000)},
		"1-65535/tcp":  {Protocol: "tcp", Ports: port.Range{First: 1, Last: 65535}},
		"65535-65535/": {Protocol: "tcp", Ports: port.Single(65535)},
	} {
		got, err := port.ParseExposed(spec)
		if err != nil || got != want {
			t.Errorf("ParseExposed(%q) = %+v, %v; want %+v", spec, got, err, want)
		}
		if again, err := port.ParseExposed(got.String()); err != nil || again != got {
			t.Errorf("%s is parsed as %+v, %v", got, again, err)
		}
	}

	for spec, want := range map[string]string{
		"foo": "invalid range format for --expose: foo", "0": "invalid range format", "9-8": "invalid range format",
		"80:80": "invalid port format for --expose: 80:80", "80/foo": "invalid proto: foo", "": "invalid range format",
	} {
		if _, err := port.ParseExposed(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseExposed(%q): %v; want %q", spec, err, want)
		}
	}
}

func TestMappingRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := mapping(t)
		if got, err := port.Parse(m.String()); err != nil || got != m {
			t.Fatalf("Parse(%q) = %+v, %v; want %+v", m, got, err, m)
		}
	})
}

func mapping(t *rapid.T) port.Mapping {
	m := port.Mapping{Protocol: rapid.SampledFrom([]port.Protocol{"tcp", "udp", "sctp"}).Draw(t, "protocol")}
	if ip := rapid.SampledFrom([]string{"", "0.0.0.0", "10.1.2.3", "::", "2001:db8::7"}).Draw(t, "ip"); ip != "" {
		m.HostIP = netip.MustParseAddr(ip)
	}

	m.Sources = rapid.SampledFrom([]port.Sources{"", "10.0.0.0/8", "10.0.0.0/8,fd00::/8"}).Draw(t, "sources")
	n := rapid.Uint16Range(0, 100).Draw(t, "more")
	m.Container = port.Single(rapid.Uint16Range(1, 65000).Draw(t, "container"))
	if rapid.Bool().Draw(t, "range") {
		m.Container.Last += n
	}
	if rapid.Bool().Draw(t, "fixed") {
		m.Host = port.Single(rapid.Uint16Range(1, 65000).Draw(t, "host"))
		m.Host.Last += uint16(m.Container.Len() - 1)
		if m.Container.Len() == 1 {
			m.Host.Last += n // any of them
		}
	}

	return m
}

// TestMappingJSON: the stored form is short, and decodes to the same mapping.
func TestMappingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := mapping(t)
		data, err := json.Marshal(m)
		var got port.Mapping
		if err = errors.Join(err, json.Unmarshal(data, &got)); err != nil || got != m {
			t.Fatalf("%s decodes as %+v, %v; want %+v", data, got, err, m)
		}
	})

	m, err := port.Parse("10.0.0.1:8000-8001:80-81/udp,from=10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"Protocol":"udp","HostIP":"10.0.0.1","Host":"8000-8001","Container":"80-81","Sources":"10.0.0.0/8"}`
	if data, err := json.Marshal(m); err != nil || string(data) != want {
		t.Errorf("got %s, %v, want %s", data, err, want)
	}
	for _, text := range []string{`"x"`, `"1-"`, `"65536"`, `"1-2-3"`, `80`} {
		if err := json.Unmarshal([]byte(text), &m.Host); err == nil {
			t.Errorf("%s: got range %s, want an error", text, m.Host)
		}
	}
}

func TestRange(t *testing.T) {
	r := func(first, last uint16) port.Range { return port.Range{First: first, Last: last} }
	for _, row := range []struct {
		r    port.Range
		len  int
		text string
	}{{port.Range{}, 0, "0"}, {port.Single(80), 1, "80"}, {r(80, 85), 6, "80-85"}, {r(1, 65535), 65535, "1-65535"}} {
		if row.r.Len() != row.len || row.r.String() != row.text || row.r.IsZero() != (row.len == 0) {
			t.Errorf("%+v: got length %d and %s, want %d and %s", row.r, row.r.Len(), row.r, row.len, row.text)
		}
	}

	for _, row := range []struct {
		a, b               port.Range
		contains, overlaps bool
	}{
		{r(10, 20), r(10, 20), true, true},
		{r(10, 20), r(11, 19), true, true},
		{r(10, 20), r(15, 21), false, true},
		{r(10, 20), r(20, 30), false, true},
		{r(10, 20), r(21, 30), false, false},
		{port.Single(65535), port.Single(65535), true, true},
	} {
		if row.a.Contains(row.b) != row.contains || row.a.Overlaps(row.b) != row.overlaps ||
			row.b.Overlaps(row.a) != row.overlaps || row.a.Has(row.b.First) != row.overlaps && row.b.Len() == 1 {
			t.Errorf("%s and %s: got contains %v, overlaps %v", row.a, row.b, row.a.Contains(row.b),
				row.a.Overlaps(row.b))
		}
	}
}

func TestParseAddress(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.168.8.116"), netip.MustParseAddr("fd00::1")
	for spec, want := range map[string]port.Address{
		"192.168.8.116":                    {HostIP: v4},
		"::ffff:192.168.8.116":             {HostIP: v4},
		"[fd00::1]":                        {HostIP: v6},
		"192.168.8.116,snat=true":          {HostIP: v4},
		"fd00::1,snat=false":               {HostIP: v6, NoSNAT: true},
		"192.168.8.116,from=10.0.0.0/8":    {HostIP: v4, Sources: "10.0.0.0/8"},
		"fd00::1,from=fd00::/8,snat=false": {HostIP: v6, NoSNAT: true, Sources: "fd00::/8"},
	} {
		got, err := port.ParseAddress(spec)
		if err != nil || got != want || got.Validate() != nil {
			t.Errorf("ParseAddress(%q) = %+v, %v; want %+v", spec, got, err, want)
		}
		if again, err := port.ParseAddress(got.String()); err != nil || again != got {
			t.Errorf("%s is parsed as %+v, %v", got, again, err)
		}
	}

	for spec, want := range map[string]string{
		"lo":                     "invalid IP address: lo",
		"fe80::1%eth0":           "invalid IP address: fe80::1%eth0",
		"10.0.0.1,out=no":        `unknown option "out=no": use snat=true, snat=false or from=CIDR`,
		"10.0.0.1,snat=maybe":    `unknown option "snat=maybe": use snat=true, snat=false or from=CIDR`,
		"10.0.0.1,from=lan":      `invalid source "lan": it should be a network such as 10.0.0.0/8, or an address`,
		"10.0.0.1,outgoing=true": `unknown option "outgoing=true": use snat=true, snat=false or from=CIDR`,
	} {
		_, err := port.ParseAddress(spec)
		f, ok := errors.AsType[*fault.Fault](err)
		if !ok || f.Subject != "--publish-address "+spec || f.Message != want {
			t.Errorf("ParseAddress(%q): %v; want %q", spec, err, want)
		}
		if want := "did you mean snat=true?"; ok && (f.Hint == want) != strings.Contains(spec, "outgoing") {
			t.Errorf("ParseAddress(%q): got hint %q", spec, f.Hint)
		}
	}
}

func TestUnusableAddressRejected(t *testing.T) {
	for _, ip := range []string{"0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.1", "ff02::1", "fe80::1"} {
		err := port.Address{HostIP: netip.MustParseAddr(ip)}.Validate()
		if want := "address " + ip + " cannot be published"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := (port.Address{}).Validate(); err == nil {
		t.Error("no address: got no error")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"80", "8080:80/udp", "[::1]:1-2:3-4", "1.2.3.4::5", "::::", "[]:1:1", "-:-", "80/"} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, s string) {
		m, err := port.Parse(s)
		if err != nil {
			return
		}
		if again, err := port.Parse(m.String()); err != nil || again != m {
			t.Fatalf("%q was read as %+v, which is written %q and read as %+v, %v", s, m, m, again, err)
		}
		if m.Container.First == 0 || m.Container.Last < m.Container.First {
			t.Fatalf("%q gave the container ports %s", s, m.Container)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"192.168.8.116", "[fd00::1],snat=false", "10.0.0.1,from=10.0.0.0/8,from=::/0",
		"1.2.3.4,", ",from="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := port.ParseAddress(s); err == nil &&
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
		e, err := port.ParseExposed(s)
		if err != nil {
			return
		}
		if e.Ports.First == 0 || e.Ports.Last < e.Ports.First || e.Protocol != "tcp" && e.Protocol != "udp" &&
			e.Protocol != "sctp" {
			t.Fatalf("%q gave %+v", s, e)
		}
	})
}
