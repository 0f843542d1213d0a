package envspec_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/ctl/internal/envspec"
)

func lookup(key string) (string, bool) {
	if key == "HOME" {
		return "/root", true
	}
	return "", false
}

func TestKeyCopiesClientValue(t *testing.T) {
	got, err := envspec.Parse([]string{"A=1", "B=", "HOME", "NOT_THERE", "C=x=y"}, lookup)
	if want := []string{"A=1", "B=", "HOME=/root", "C=x=y"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{"", "=x"} {
		if _, err := envspec.Parse([]string{bad}, lookup); err == nil ||
			!strings.Contains(err.Error(), "invalid environment variable: "+bad) {
			t.Errorf("Parse(%q): %v", bad, err)
		}
	}
}

func TestParseFile(t *testing.T) {
	const file = "\uFEFFA=1\n\n# a comment\n  B = two words \nHOME\nNOT_THERE\nC=#no comment\n"
	got, err := envspec.ParseFile("f", strings.NewReader(file), lookup)
	if err == nil || !strings.Contains(err.Error(), "variable 'B ' contains whitespaces (line 4)") {
		t.Errorf("a name with a blank: %q, %v", got, err)
	}

	got, err = envspec.ParseFile("f", strings.NewReader(strings.Replace(file, "B =", "B=", 1)), lookup)
	if want := []string{"A=1", "B= two words ", "HOME=/root", "C=#no comment"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}

	for text, want := range map[string]string{
		"A=1\n=x\n":                "no variable name on line 2: '=x'",
		"A=\xff\n":                 "invalid utf8 bytes at line 1",
		strings.Repeat("x", 1<<17): "--env-file f: cannot be read",
	} {
		if _, err := envspec.ParseFile("f", strings.NewReader(text), lookup); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v; want %q", text, err, want)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add("A=1\n# x\nHOME\n")
	f.Fuzz(func(t *testing.T, text string) {
		vars, err := envspec.ParseFile("f", strings.NewReader(text), lookup)
		for _, v := range vars {
			if strings.Index(v, "=") < 1 {
				t.Fatalf("%q gave %q, %v", text, v, err)
			}
		}
	})
}
