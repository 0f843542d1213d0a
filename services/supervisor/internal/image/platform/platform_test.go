package platform_test

import (
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
)

func TestParsePlatform(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64":      "linux/amd64",
		"Linux/x86_64":     "linux/amd64",
		"arm64":            "linux/arm64",
		"linux/aarch64":    "linux/arm64",
		"linux/arm64/v8":   "linux/arm64",
		"linux/arm/v7":     "linux/arm/v7",
		"linux/amd64/v3":   "linux/amd64/v3",
		"linux/riscv64":    "linux/riscv64",
		"":                 "",
		"linux/":           "",
		"linux/arm/v7/x":   "",
		"windows/amd64":    "",
		"linux/amd 64":     "",
		"linux/../../etc/": "",
	} {
		got, err := platform.Parse(in)
		if want == "" {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("Parse(%q): got %v, %v; want an Invalid fault", in, got, err)
			}
			continue
		}
		if err != nil || got.String() != want {
			t.Errorf("Parse(%q): got %v, %v; want %s", in, got, err, want)
		}
	}
}

func TestBestPlatform(t *testing.T) {
	index := []string{"linux/arm64", "linux/arm/v5", "linux/arm/v7", "linux/arm/v6", "linux/amd64/v3", "linux/amd64",
		"linux/amd64/v2"}
	var have []platform.Platform
	for _, s := range index {
		p, err := platform.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, p)
	}

	for want, chosen := range map[string]string{
		"linux/amd64": "linux/amd64", "linux/arm": "linux/arm/v7", "linux/arm/v6": "linux/arm/v6",
		"linux/arm64/v8": "linux/arm64", "linux/amd64/v3": "linux/amd64/v3", "linux/s390x": "",
	} {
		p, err := platform.Parse(want)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if i := platform.Best(have, p); i >= 0 {
			got = have[i].String()
		}
		if got != chosen {
			t.Errorf("for %s: got %q, want %q", want, got, chosen)
		}
	}
}

func FuzzParsePlatform(f *testing.F) {
	f.Add("linux/amd64")
	f.Add("arm/v7")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := platform.Parse(s)
		if err != nil {
			return
		}
		if again, err := platform.Parse(p.String()); err != nil || again != p {
			t.Errorf("%q: %v, then %v, %v", s, p, again, err)
		}
	})
}
