package limitspec

import "testing"

func TestParseDevice(t *testing.T) {
	for text, want := range map[string]Device{
		"/dev/fuse":          {"/dev/fuse", "/dev/fuse", "rwm"},
		"/dev/fuse:/dev/x":   {"/dev/fuse", "/dev/x", "rwm"},
		"/dev/fuse:r":        {"/dev/fuse", "/dev/fuse", "r"},
		"/dev/fuse:/dev/x:m": {"/dev/fuse", "/dev/x", "m"},
		"/dev/fuse::rw":      {"/dev/fuse", "/dev/fuse", "rw"},
	} {
		if got, err := ParseDevice(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "fuse", "/dev/a:b", "/dev/a:/b:x", "/dev/a:/b:r:w", "/dev/a:/b:", "/dev/a:/b:rr",
		":/dev/a"} {
		if got, err := ParseDevice(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestCheckDeviceRule(t *testing.T) {
	for text, want := range map[string]bool{"c 10:* rwm": true, "a *:* r": true, "b 8:0 m": true, "c 10 rwm": false,
		"x 1:1 r": false, "c 1:1 x": false, "": false, "c  1:1 r": false} {
		if got := CheckDeviceRule(text) == nil; got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}
