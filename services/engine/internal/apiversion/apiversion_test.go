package apiversion_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]apiversion.Version{"1.24": {1, 24}, "1.9": {1, 9}, "2.0": {2, 0}} {
		if got, ok := apiversion.Parse(text); !ok || got != want || got.String() != text {
			t.Errorf("%s: got %v, %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "1", "1.", ".1", "1.2.3", "1.x", "-1.2", "1.99999", "1.+2"} {
		if got, ok := apiversion.Parse(text); ok {
			t.Errorf("%q: got %v, want none", text, got)
		}
	}
}

func TestCompare(t *testing.T) {
	if !apiversion.V(9).Before(24) || apiversion.V(44).Before(44) || !apiversion.V(44).AtLeast(44) {
		t.Error("versions compare as text")
	}
}

func TestCheckHasDockersWords(t *testing.T) {
	for v, want := range map[apiversion.Version]string{
		{1, 99}: "client version 1.99 is too new. Maximum supported API version is 1.56",
		{1, 21}: "client version 1.21 is too old. Minimum supported API version is 1.24, please upgrade your client",
		{1, 24}: "", {1, 56}: "",
	} {
		if got := v.Check(); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: got %q, want %q", v, got, want)
		}
	}
}
