package api

import (
	"path"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
)

// maxPath is the longest path that the kernel accepts.
const maxPath = 4095

// checkPath checks the path of an external namespace.
func checkPath(req *networkv1.CreateSandboxRequest) error {
	subject, text := "sandbox of "+id.Short(req.GetOwner()), req.GetNetnsPath()
	external := req.GetMode() == networkv1.SandboxMode_SANDBOX_MODE_EXTERNAL
	switch {
	case external != (text != ""):
		return fault.Invalidf(subject, "netns_path", "a path is required in external mode, and only there")
	case !external:
		return nil
	case !path.IsAbs(text) || len(text) > maxPath || strings.ContainsRune(text, 0):
		return fault.Invalidf(subject, "netns_path", "%q is not an absolute path", text)
	case isOwnPath(path.Clean(text)):
		return fault.New(fault.Invalid, subject, text+" is a path of the client's process",
			fault.WithField("netns_path"), fault.WithHint("use /proc/PID/ns/net"))
	}
	return nil
}

// isOwnPath reports whether a path denotes another file for each process.
func isOwnPath(p string) bool {
	return strings.HasPrefix(p, "/proc/self/") || strings.HasPrefix(p, "/proc/thread-self/")
}
