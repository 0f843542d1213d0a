// Package version holds the version of Fairlead and of its API.
package version

// Version is the release, set at build time by -ldflags "-X …/proto/version.Version=1.2.3".
var Version = "0.1.0-dev"

// API is the version of the gRPC services, MAJOR.MINOR. A new minor version adds features. A new
// major version is incompatible and changes the package names (fairlead.container.v1).
const API = "1.1"
