// Package imageref splits image references into their parts. It does not validate them; the agent
// does. The package exists because github.com/distribution/reference compiles its regular
// expressions at each program start, for a millisecond. Tests compare both.
package imageref

import (
	"strings"
)

const (
	// DockerHub is the registry of references without one.
	DockerHub     = "docker.io"
	oldDockerHub  = "index.docker.io"
	officialImage = "library/"
	defaultTag    = "latest"
)

// Reference holds the parts of NAME[:TAG][@DIGEST]. Domain and Path are empty only for an empty
// reference.
type Reference struct {
	Domain string // "docker.io", "localhost:5000"
	Path   string // "library/nginx"
	Tag    string
	Digest string
}

// Parse splits a reference. It does not validate it.
func Parse(s string) Reference {
	var r Reference
	s, r.Digest, _ = strings.Cut(s, "@")
	// A colon after the last slash starts a tag; one before it starts a port.
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		s, r.Tag = s[:i], s[i+1:]
	}

	r.Domain, r.Path = DockerHub, s
	if first, rest, ok := strings.Cut(s, "/"); ok && isDomain(first) {
		r.Domain, r.Path = first, rest
	}
	if r.Domain == oldDockerHub {
		r.Domain = DockerHub
	}
	if r.Domain == DockerHub && !strings.Contains(r.Path, "/") {
		r.Path = officialImage + r.Path
	}

	return r
}

// isDomain reports whether the first part of a path is a registry: it has a dot, a port or an
// upper-case letter, or is localhost.
func isDomain(s string) bool {
	return strings.ContainsAny(s, ".:") || s == "localhost" || strings.ToLower(s) != s
}

// Name returns the full name without tag and digest: "docker.io/library/nginx".
func (r Reference) Name() string { return r.Domain + "/" + r.Path }

// String returns the full reference, with the default tag if it has neither tag nor digest.
func (r Reference) String() string {
	s := r.Name()
	if r.Tag == "" && r.Digest == "" {
		return s + ":" + defaultTag
	}
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}
