package imageref_test

import (
	"strings"
	"testing"

	"github.com/distribution/reference"

	"github.com/fairlead/fairlead/ctl/internal/imageref"
)

var digest = "@sha256:" + strings.Repeat("0123456789abcdef", 4)

var seeds = []string{
	"nginx", "nginx:1.27", "me/app", "docker.io/nginx", "index.docker.io/a/b:c", "localhost/a",
	"localhost:5000/a/b:1", "ghcr.io/a/b" + digest,
	"a:5000/b", "a:5000", "UPPER/a", "nginx:1" + digest, "library/nginx", "[::1]:5000/a:b", "docker.io/library/x" +
		digest, "a.b/c", "a_b/c",
}

// agrees compares with the reference implementation for references that it accepts.
func agrees(t *testing.T, s string) {
	t.Helper()
	want, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return
	}
	got := imageref.Parse(s)
	if got.Domain != reference.Domain(want) || got.Name() != want.Name() ||
		got.String() != reference.TagNameOnly(want).String() {
		t.Errorf("%q is %s from %s (%s), want %s from %s (%s)", s, got, got.Domain, got.Name(),
			reference.TagNameOnly(want), reference.Domain(want), want.Name())
	}
}

func TestParseMatchesReferenceImplementation(t *testing.T) {
	for _, s := range seeds {
		if _, err := reference.ParseNormalizedNamed(s); err != nil {
			t.Errorf("%q is not a valid reference: %v", s, err)
		}
		agrees(t, s)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(agrees)
}
