package sink

import (
	"strings"
	"testing"
)

func TestArguments(t *testing.T) {
	for want, s := range map[string]Sink{
		"--log-path none --name abc":                         {},
		"--log-path k8s-file:/l --name abc":                  {Path: "/l"},
		"--log-path k8s-file:/l --log-size-max 5 --name abc": {Path: "/l", MaxSize: 5},
		"--log-path journald: --log-tag t --name web":        {Journal: &Journal{"web", "t"}},
		"--log-path k8s-file:/l --log-path journald: --log-tag t --name web": {
			Path: "/l", Journal: &Journal{"web", "t"}},
	} {
		if got := strings.Join(s.Arguments("abc"), " "); got != want {
			t.Errorf("%+v: got %s, want %s", s, got, want)
		}
	}
}
