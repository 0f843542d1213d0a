package container_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

func TestDNSNamesOfLabel(t *testing.T) {
	for value, want := range map[string]string{
		"db.corp.example":              "db.corp.example",
		"DB.Corp., *.dev.example ,api": "db.corp *.dev.example api",
		"db.corp,DB.CORP":              "db.corp",
	} {
		c := &container.Config{Image: "busybox", Labels: map[string]string{container.LabelDNSName: value}}
		if err := c.Validate(); err != nil {
			t.Errorf("%q: %v", value, err)
		}
		if got := strings.Join(c.DNSNames(), " "); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
	for value, want := range map[string]string{
		"":                            "it is empty",
		"a,,b":                        "it is empty",
		"a b":                         "labels have letters, digits, - and _",
		"a.*.b":                       "* must be the whole first label",
		strings.Repeat("a.b,", 32):    "has 33 names, the limit is 32",
		strings.Repeat("a", 64):       "a label is longer than 63 bytes",
		"db.corp.example\nnameserver": "labels have letters, digits, - and _",
	} {
		c := &container.Config{Image: "busybox", Labels: map[string]string{container.LabelDNSName: value}}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", value, err, want)
		}
	}
	if names := (&container.Config{}).DNSNames(); names != nil {
		t.Errorf("without the label: got %q", names)
	}
}
