package config_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/config"
)

func TestParseHost(t *testing.T) {
	for text, want := range map[string]string{ // the host's loopback-ness, or a piece of the error
		"unix:///run/a.sock":                   "loopback",
		"tcp://127.0.0.1:80":                   "loopback",
		"tcp://[::1]:80":                       "loopback",
		"tcp://localhost:80":                   "loopback",
		"tcp://:80":                            "routable",
		"tcp://0.0.0.0:80":                     "routable",
		"tcp://[fd00::1]:80":                   "routable",
		"tcp://host.example:65535":             "routable",
		"fd://":                                "loopback",
		"/run/a.sock":                          "has no scheme",
		"":                                     "has no scheme",
		"unix://run/a.sock":                    "no absolute path",
		"unix://":                              "no absolute path",
		"unix:///" + strings.Repeat("a", 107):  "has 108 bytes",
		"unix:///a\x00b":                       "zero byte",
		"tcp://127.0.0.1":                      "no port",
		"tcp://127.0.0.1:0":                    "port from 1 to 65535",
		"tcp://127.0.0.1:65536":                "port from 1 to 65535",
		"tcp://127.0.0.1:99999999999999999999": "port from 1 to 65535",
		"tcp://127.0.0.1:http":                 "port from 1 to 65535",
		"tcp://::1:80":                         "write an IPv6 address in brackets",
		"tcp://[127.0.0.1]:80":                 "brackets",
		"tcp://[::1:80":                        "brackets",
		"http://127.0.0.1:80":                  "unknown scheme",
		"fd://3":                               "names a descriptor",
		"unix:///" + strings.Repeat("a", 106):  "loopback",
		"tcp://user@host.example/path:80":      "not ADDRESS:PORT",
	} {
		h, err := config.ParseHost(text)
		got := map[bool]string{true: "loopback", false: "routable"}[h.Loopback()]
		if err != nil {
			got = err.Error()
		} else if h.String() != text {
			t.Errorf("%q parsed as %q", text, h)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %s; want %s", text, got, want)
		}
	}
}

func TestSuggestFindsNearestWord(t *testing.T) {
	words := []string{"bip", "bip6", "fixed-cidr", "default-gateway", "log-level"}
	for word, want := range map[string]string{"bpi": "bip", "BIP": "bip", "fixed_cidr": "fixed-cidr",
		"defualt-gatway": "default-gateway", "loglevel": "log-level", "storage-driver": "", "": "",
		"bip" + strings.Repeat(" ", 62): ""} {
		if got, _ := config.Suggest(word, words); got != want && !(word == "" && got == "") {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"unix:///a", "tcp://[::1]:80", "fd://", "tcp://:1", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := config.ParseHost(text)
		if err != nil {
			return
		}
		h.Loopback()
		if again, err := config.ParseHost(h.String()); err != nil || again != h {
			t.Errorf("%q parsed as %q, which reads as %v, %v", text, h, again, err)
		}
	})
}
