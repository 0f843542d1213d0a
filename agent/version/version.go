// Package version says which Fairlead this is. It holds nothing else.
package version

// Version is the release, set at build time by -ldflags "-X …/agent/version.Version=1.2.3".
var Version = "0.1.0-dev"
