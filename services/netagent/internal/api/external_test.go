package api

import (
	"strings"
	"testing"

	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
)

func TestExternalPathIsChecked(t *testing.T) {
	for path, want := range map[string]string{"": "required", "ns": "absolute", "/a\x00b": "absolute",
		"/proc/self/ns/net": "client's process", "/proc//thread-self/ns/net": "client's process", "/run/netns/a": ""} {
		_, err := requestIn(&networkv1.CreateSandboxRequest{Owner: id.New(), NetnsPath: path,
			Mode: networkv1.SandboxMode_SANDBOX_MODE_EXTERNAL})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", path, err, want)
		}
	}
	if _, err := requestIn(&networkv1.CreateSandboxRequest{Owner: id.New(), NetnsPath: "/run/netns/a",
		Mode: networkv1.SandboxMode_SANDBOX_MODE_PRIVATE}); err == nil {
		t.Error("got no error for a path in private mode")
	}
}
