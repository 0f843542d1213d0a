package httpapi

import (
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
)

func TestMessagesNameImagesOnce(t *testing.T) {
	const text = "An image does not exist locally with the tag: busybox"
	for subject, want := range map[string]string{`image "busybox:latest"`: text, `image "other"`: text + ": other"} {
		if err := fromFault(fault.New(fault.NotFound, subject, text)); err.Message != want {
			t.Errorf("%s: got %q, want %q", subject, err.Message, want)
		}
	}
}

func TestMissingImageHasDockersWords(t *testing.T) {
	for name, want := range map[string]string{
		"busybox": "busybox:latest", "busybox:1": "busybox:1", "127.0.0.1:5000/tool": "127.0.0.1:5000/tool:latest",
		"tool@sha256:00": "tool@sha256:00", "sha256:00": "sha256:00",
	} {
		err := fromFault(fault.New(fault.NotFound, `image "`+name+`"`, "No such image"))
		if err.Status != 404 || err.Message != "No such image: "+want {
			t.Errorf("%s: got %d %q", name, err.Status, err.Message)
		}
	}
}
