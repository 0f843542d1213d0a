package hostsfile_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/dnsagent/internal/hostsfile"
)

func record(addr string, names ...string) hostsfile.Record {
	return hostsfile.Record{Addr: netip.MustParseAddr(addr), Names: names}
}

func TestRenderMatchesDocker(t *testing.T) {
	got := hostsfile.Render([]hostsfile.Record{
		record("10.0.0.9", "db"),
		record("2001:db8::9", "db"),
		record("172.17.0.6", "web.example.com", "web"),
	}, true)
	want := `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::	ip6-localnet
ff00::	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
10.0.0.9	db
2001:db8::9	db
172.17.0.6	web.example.com web
`
	if string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestRenderWithoutIPv6(t *testing.T) {
	got := hostsfile.Render([]hostsfile.Record{record("10.0.0.9", "db"), record("2001:db8::9", "db")}, false)
	if want := "127.0.0.1\tlocalhost\n10.0.0.9\tdb\n"; string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestNamesOf(t *testing.T) {
	for _, c := range []struct {
		hostname, domainname string
		want                 []string
	}{
		{"docker.test.com", "", []string{"docker.test.com", "docker"}},
		{"web", "example.com", []string{"web.example.com", "web"}},
		{"web.a", "b", []string{"web.a.b", "web"}},
		{"605c598f642b", "", []string{"605c598f642b"}},
		{".odd", "", []string{".odd"}},
	} {
		if got := hostsfile.NamesOf(c.hostname, c.domainname); !slices.Equal(got, c.want) {
			t.Errorf("NamesOf(%q, %q): got %q, want %q", c.hostname, c.domainname, got, c.want)
		}
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"db": true, "db_1.example.com": true, "größe": true,
		"": false, "a b": false, "a\tb": false, "a\nb": false, "a#b": false, "a\x00b": false,
		"a\u00a0b": false, "a\u2028b": false,
		"\xff": false, "a\r": false, "\u202eevil": false,
	} {
		if got := hostsfile.ValidName(name); got != want {
			t.Errorf("ValidName(%q): got %v, want %v", name, got, want)
		}
	}
}

func TestValidNamesAreOneWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Filter(hostsfile.ValidName).Draw(t, "name")
		lines := strings.Split(string(hostsfile.Render([]hostsfile.Record{record("10.0.0.9", name)}, false)), "\n")
		if len(lines) != 3 || !slices.Equal(strings.Fields(lines[1]), []string{"10.0.0.9", name}) {
			t.Fatalf("name %q: got %q", name, lines)
		}
	})
}

func FuzzValidName(f *testing.F) {
	for _, s := range []string{"db", "a b", "a\n10.0.0.1 b", "#", "\x85"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !hostsfile.ValidName(name) {
			return
		}
		got := string(hostsfile.Render([]hostsfile.Record{record("10.0.0.9", name)}, false))
		if strings.Count(got, "\n") != 2 || len(strings.Fields(got)) != 4 || strings.Contains(got, "#") {
			t.Fatalf("name %q: got %q", name, got)
		}
	})
}
