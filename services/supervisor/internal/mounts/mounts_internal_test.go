package mounts

import "testing"

func TestUnescapeMountPoint(t *testing.T) {
	if got := unescape(`/a\040b\011c\134040`); got != "/a b\tc\\040" {
		t.Errorf("got %q", got)
	}
}
