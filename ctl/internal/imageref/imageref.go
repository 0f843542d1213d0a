// Package imageref takes image references apart as far as a client needs to: which registry they mean, and their full name. It is
// pure. Whether a reference is valid is for the agent to say: this package exists because github.com/distribution/reference,
// which the tests hold it against, compiles its regular expressions at each start of the program, for a millisecond.
package imageref

import (
	"strings"
)

const (
	// DockerHub is the registry of references that name none.
	DockerHub     = "docker.io"
	oldDockerHub  = "index.docker.io"
	officialImage = "library/"
	defaultTag    = "latest"
)

// Reference is NAME[:TAG][@DIGEST] in its parts. Domain and Path are never empty, as long as the reference is not.
type Reference struct {
	Domain string // "docker.io", "localhost:5000"
	Path   string // "library/nginx"
	Tag    string
	Digest string
}

// Parse takes a reference apart. It does not validate it.
func Parse(s string) Reference {
	var r Reference
	s, r.Digest, _ = strings.Cut(s, "@")
	// A colon behind the last slash is a tag's; one before it is a port's.
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

// isDomain tells a registry from the first part of a path: it has a dot, a port or an upper-case letter, or is localhost.
func isDomain(s string) bool {
	return strings.ContainsAny(s, ".:") || s == "localhost" || strings.ToLower(s) != s
}

// Name is the full name without tag and digest: "docker.io/library/nginx".
func (r Reference) Name() string { return r.Domain + "/" + r.Path }

// String is the full reference, with the tag that is meant if it has neither tag nor digest.
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
