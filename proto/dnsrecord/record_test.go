package dnsrecord_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/dnsrecord"
)

func TestParseRecords(t *testing.T) {
	for text, want := range map[string]string{
		"db.corp.example A 10.0.0.5":           "db.corp.example 60 A 10.0.0.5",
		"DB.Corp.Example. 300 in a 10.0.0.5":   "db.corp.example 300 A 10.0.0.5",
		"db 5m AAAA FD00::0:5":                 "db 300 AAAA fd00::5",
		"*.Dev.example CNAME Ingress":          "*.dev.example 60 CNAME ingress",
		"network=backend db.corp 0 A 10.0.0.5": "network=backend db.corp 0 A 10.0.0.5",
		"_http._tcp.web SRV 10 5 080 web.":     "_http._tcp.web 60 SRV 10 5 80 web",
		"_none._tcp.web SRV 0 0 0 .":           "_none._tcp.web 60 SRV 0 0 0 .",
		"10.0.0.5 PTR db.corp.example":         "5.0.0.10.in-addr.arpa 60 PTR db.corp.example",
		"fd00::1 PTR db": strings.Repeat("1.", 1) + strings.Repeat("0.",
			29) + "d.f.ip6.arpa 60 PTR db",
		"corp.example TXT v=spf1 -all":         `corp.example 60 TXT "v=spf1 -all"`,
		`corp.example TXT "a \"b\" \\" "\255"`: `corp.example 60 TXT "a \"b\" \\" "\255"`,
		"corp.example TXT é":                   `corp.example 60 TXT "\195\169"`,
		"corp.example TXT " + strings.Repeat("x", 300): `corp.example 60 TXT "` + strings.Repeat("x",
			255) + `" "` + strings.Repeat("x", 45) + `"`,
		"bücher.example A 10.0.0.1":     "xn--bcher-kva.example 60 A 10.0.0.1",
		"a_b.example 604800 A 10.0.0.1": "a_b.example 604800 A 10.0.0.1",
	} {
		r, err := dnsrecord.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if r.String() != want {
			t.Errorf("%s:\ngot  %s\nwant %s", text, r, want)
		}
		if again, err := dnsrecord.Parse(r.String()); err != nil || again != r {
			t.Errorf("%s again: got %v, %v", r, again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "is not [network=NAME] NAME",
		"db.corp":                      "is not [network=NAME] NAME",
		"db.corp A":                    "is not [network=NAME] NAME",
		"network= db A 10.0.0.1":       "has no name of a network",
		"network=bridge db A 10.0.0.1": "containers on network bridge do not use the embedded resolver",
		"db.corp TXT " + strings.Repeat(`"" `, 5000): "the texts have 5000 bytes",
		"db.corp MX 10 mail":                         `type "MX" is not one of A, AAAA, CNAME, TXT, SRV, PTR`,
		"db..corp A 10.0.0.1":                        "a label is empty",
		"-db.corp A 10.0.0.1":                        "starts or ends with a dash",
		"d b A 10.0.0.1":                             `type "b" is not one of`,
		"db/corp A 10.0.0.1":                         "labels have letters, digits, - and _",
		"a.*.corp A 10.0.0.1":                        "* must be the whole first label",
		"*b.corp A 10.0.0.1":                         "* must be the whole first label",
		"*. A 10.0.0.1":                              "it is empty",
		strings.Repeat("a", 64) + " A 10.0.0.1":      "a label is longer than 63 bytes",
		strings.Repeat("a.", 127) + " A 1.1.1.1":     "", // 253 bytes are valid
		strings.Repeat("a.", 128) + " A 1.1.1.1":     "longer than 253 bytes",
		"10.0.0.1 A 10.0.0.1":                        "is an address, not a name",
		"db A fd00::1":                               "is not an IPv4 address",
		"db AAAA 10.0.0.1":                           "is not an IPv6 address",
		"db AAAA fe80::1%eth0":                       "is not an IPv6 address",
		"db A 10.0.0.1 10.0.0.2":                     "is not an IPv4 address",
		"db CNAME 10.0.0.1":                          "is an address, not a name",
		"db CNAME *.corp":                            "* must be the whole first label",
		"db SRV 1 2 3":                               "is not PRIORITY WEIGHT PORT TARGET",
		"db SRV 1 2 65536 web":                       "is not a number from 0 to 65535",
		`db TXT "open`:                               "the quote of a text is not closed",
		`db TXT "a" b`:                               "a text is not quoted after 1 others",
		`db TXT "\x"`:                                "invalid escape",
		`db TXT "\256"`:                              "invalid escape",
		`db TXT "` + strings.Repeat("x", 256) + `"`:  "a text has 256 bytes, the limit is 255",
		"db TXT " + strings.Repeat("x", 4001):        "the texts have 4001 bytes",
		"db 604801 A 10.0.0.1":                       "is not in the range from 0 to 604800 seconds",
		"db 8760h A 10.0.0.1":                        "is not in the range from 0 to 604800 seconds",
		"db 1.5s A 10.0.0.1":                         "is not a number of seconds",
	} {
		_, err := dnsrecord.Parse(text)
		if want == "" {
			if err != nil {
				t.Errorf("%.40q: %v", text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", text, err, want)
		}
	}
}

// FuzzParse checks that a parsed record is canonical: its text is parsed to itself.
func FuzzParse(f *testing.F) {
	f.Add(`network=a *.b 5m TXT "x\"" "\000"`)
	f.Add("10.0.0.1 PTR a")
	f.Add("_s._tcp.a SRV 1 2 3 b.")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := dnsrecord.Parse(text)
		if err != nil {
			return
		}
		again, err := dnsrecord.Parse(r.String())
		if err != nil || again != r {
			t.Fatalf("%q: got %+v, then %+v, %v", text, r, again, err)
		}
		if _, err := r.Value(); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

// FuzzParseForward checks the same of forwards.
func FuzzParseForward(f *testing.F) {
	f.Add("network=a corp.example 10.0.0.1 [fd00::1]:5353 tls://1.1.1.1#one.one")
	f.Add("10.0.0.0/8 10.0.0.1:53")
	f.Fuzz(func(t *testing.T, text string) {
		forward, err := dnsrecord.ParseForward(text)
		if err != nil {
			return
		}
		again, err := dnsrecord.ParseForward(forward.String())
		if err != nil || again.String() != forward.String() {
			t.Fatalf("%q: got %v, then %v, %v", text, forward, again, err)
		}
	})
}

// TestTextsProperty stores random bytes as texts and reads them again.
func TestTextsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rapid.StringN(0, 60, 255), 1, 4).Draw(t, "texts")
		data := ""
		for _, text := range texts {
			data += ` "` + dnsrecord.Escape(text) + `"`
		}
		r, err := dnsrecord.New("", "a.test", "TXT", 1, data)
		if err != nil {
			t.Fatal(err)
		}
		v, err := r.Value()
		if err != nil || strings.Join(v.Texts, "|") != strings.Join(texts, "|") {
			t.Fatalf("got %q, %v, want %q", v.Texts, err, texts)
		}
	})
}
