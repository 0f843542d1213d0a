package logdriver

import (
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
)

func TestDetailsSelectAttributes(t *testing.T) {
	s := Subject{ContainerID: "0123456789abcdef", ContainerName: "web", ContainerImageName: "busybox",
		ContainerImageID: "sha256:fedcba9876543210", ContainerEntrypoint: "sh", ContainerArgs: []string{"-c"},
		ContainerEnv:    []string{"A=1 2", "B=x=y", "NOVALUE"},
		ContainerLabels: map[string]string{"a": "b", "tier": "f,g"}}
	for _, tc := range []struct {
		options map[string]string
		want    string
	}{
		{nil, ""},
		{map[string]string{"labels": "tier,nosuch", "env": "B"}, "B=x%3Dy,tier=f%2Cg"},
		{map[string]string{"labels-regex": "^t", "env-regex": "A|NO"}, "A=1+2,tier=f%2Cg"},
		{map[string]string{"tag": "{{.Name}}/{{.ID}}/{{.ImageID}}"}, "tag=web%2F0123456789ab%2Ffedcba987654"},
		{map[string]string{"tag": "{{.ImageName}} {{.Command}}"}, "tag=busybox+sh+-c"},
	} {
		if got := Details(Config{Options: tc.options}, s); got != tc.want {
			t.Errorf("%v: got %q, want %q", tc.options, got, tc.want)
		}
	}
}

func TestAttributeOptionsAreValidated(t *testing.T) {
	for _, tc := range []struct {
		driver, key, value string
		valid              bool
	}{
		{"", "labels", "a,b", true}, {JSONFile, "labels-regex", "^a", true}, {JSONFile, "env-regex", "(", false},
		{"", "labels-regex", "[", false}, {"", "tag", "{{.Name}}", true}, {"", "tag", "{{.Nope}}", false},
		{"", "tag", "{{", false}, {Local, "labels", "a", false}, {None, "env", "A", false},
	} {
		err := Config{Driver: tc.driver, Options: map[string]string{tc.key: tc.value}}.Validate("container x")
		if (err == nil) != tc.valid {
			t.Errorf("%s %s=%s: got %v", tc.driver, tc.key, tc.value, err)
		}
	}
}

func FuzzOptions(f *testing.F) {
	f.Add("tag", "{{.Name}} {{range .ContainerEnv}}{{.}}{{end}}")
	f.Add("max-size", "9999999999999g")
	f.Add("labels-regex", "(a|b")
	f.Fuzz(func(t *testing.T, key, value string) {
		c := Config{Options: map[string]string{key: value}}
		if err := c.Validate("container x"); err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%q=%q: got %v", key, value, err)
		}
		_ = Details(c, Subject{ContainerEnv: []string{"A=1"}, ContainerLabels: map[string]string{"a": "b"}})
		_, _ = c.Size()
	})
}
