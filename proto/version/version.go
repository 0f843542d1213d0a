// Package version says which Fairlead this is. It holds nothing else.
package version

// Version is the release, set at build time by -ldflags "-X …/proto/version.Version=1.2.3".
var Version = "0.1.0-dev"

// API is the version of the gRPC services, MAJOR.MINOR. The minor one grows with what clients can newly ask for; the major one, with
// which the packages are named (fairlead.container.v1), with what works differently.
const API = "1.1"
