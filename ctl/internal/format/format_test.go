package format_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/ctl/internal/format"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

func TestSizeHasThreeDigits(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 999: "999B", 1000: "1kB", 4261550: "4.26MB", 187_000_000: "187MB",
		3 << 40: "3.3TB"} {
		if got := format.Size(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestTotalSizeHasFourDigits(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1_981_856: "1.982MB", 20_480: "20.48kB", 5_000_000: "5MB"} {
		if got := format.TotalSize(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestEllipsis(t *testing.T) {
	if got := format.Ellipsis("nginx -g 'daemon off;'", 20); got != "nginx -g 'daemon of…" {
		t.Errorf("%q", got)
	}

	if got := format.Ellipsis("ää", 2); got != "ää" {
		t.Errorf("%q", got)
	}

	if got := format.Digest("sha256:0123456789abcdef"); got != "0123456789ab" {
		t.Errorf("%q", got)
	}

	if got := format.Digest("abc"); got != "abc" {
		t.Errorf("%q", got)
	}
}

func bind(ip string, host, ctr uint32, p natv1.Protocol) *natv1.PortBinding {
	return &natv1.PortBinding{HostIp: ip, HostPort: host, ContainerPort: ctr, Protocol: p}
}

func TestPortsMergeRanges(t *testing.T) {
	const tcp, udp = natv1.Protocol_PROTOCOL_TCP, natv1.Protocol_PROTOCOL_UDP
	for want, c := range map[string]struct {
		bindings []*natv1.PortBinding
		exposed  []*containerv1.ExposedPort
	}{
		"":       {},
		"80/tcp": {exposed: []*containerv1.ExposedPort{{Protocol: tcp, Port: 80}}},
		"0.0.0.0:8080->80/tcp": {
			bindings: []*natv1.PortBinding{bind("0.0.0.0", 8080, 80, tcp)},
			exposed:  []*containerv1.ExposedPort{{Protocol: tcp, Port: 80}},
		},
		"0.0.0.0:8000-8002->80-82/tcp, [::]:8000-8002->80-82/tcp, 90-91/udp": {
			bindings: []*natv1.PortBinding{
				bind("::", 8001, 81, tcp), bind("0.0.0.0", 8002, 82, tcp), bind("0.0.0.0", 8000, 80, tcp), bind("::",
					8000, 80, tcp),
				bind("0.0.0.0", 8001, 81, tcp), bind("::", 8002, 82, tcp),
			},
			exposed: []*containerv1.ExposedPort{{Protocol: udp, Port: 90, PortEnd: 91}},
		},
		"0.0.0.0:32768->80/tcp, 0.0.0.0:32770->81/tcp": {
			bindings: []*natv1.PortBinding{bind("0.0.0.0", 32768, 80, tcp), bind("0.0.0.0", 32770, 81, tcp)},
		},
		"0.0.0.0:53->53/tcp, 0.0.0.0:53->53/udp": {
			bindings: []*natv1.PortBinding{bind("0.0.0.0", 53, 53, udp), bind("0.0.0.0", 53, 53, tcp)},
		},
	} {
		if got := format.Ports(c.bindings, c.exposed); got != want {
			t.Errorf("ports %q, want %q", got, want)
		}
	}
}

type row struct {
	ID   string
	Tags []string `json:",omitempty"`
}

func TestPrintFormats(t *testing.T) {
	rows := []row{{"1", []string{"a", "b"}}, {"22", nil}}
	for name, want := range map[string]string{
		"table":                        "THE ID    TAGS\n1         a,b\n22        \n",
		"table {{.ID}}":                "THE ID\n1\n22\n",
		`{{upper .ID}}\t{{len .Tags}}`: "1\t2\n22\t0\n",
		"json":                         `{"ID":"1","Tags":["a","b"]}` + "\n" + `{"ID":"22"}` + "\n",
		"{{json .}}":                   `{"ID":"1","Tags":["a","b"]}` + "\n" + `{"ID":"22"}` + "\n",
		"table-like {{.ID}}":           "table-like 1\ntable-like 22\n",
	} {
		var out strings.Builder
		err := format.Print(&out, name, "{{.ID}}\t{{join .Tags \",\"}}", row{"THE ID", []string{"TAGS"}}, rows)
		if err != nil || out.String() != want {
			t.Errorf("%s: %v\n%q\nwant\n%q", name, err, out.String(), want)
		}
	}

	for _, bad := range []string{"{{.ID", "{{.Nothing}}", "{{nothing}}"} {
		var out strings.Builder
		if err := format.Print(&out, bad, "", row{}, rows); err == nil ||
			!strings.HasPrefix(err.Error(), "--format: invalid template: ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// counter counts writes.
type counter struct{ bytes, writes int }

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += len(p)
	c.writes++
	return len(p), nil
}

func TestPrintWritesOnce(t *testing.T) {
	rows := make([]struct{ A, B string }, 1000)
	for _, text := range []string{format.Table, format.JSON, "{{.A}}"} {
		var c counter
		err := format.Print(&c, text, "{{.A}}\t{{.B}}", rows[0], rows)
		if err != nil || c.writes != 1 || c.bytes < 1000 {
			t.Errorf("%s: got %d bytes in %d writes, %v", text, c.bytes, c.writes, err)
		}
	}
}
