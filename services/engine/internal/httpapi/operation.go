// Package httpapi is the HTTP side of the Docker Engine API: it routes requests to operations, parses
// versions, parameters, filters and bodies, and writes responses and errors as Docker does. It does not
// know any operation.
package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
)

// Operation is one operation of the API.
type Operation struct {
	Method string
	// Path has no version. {name} is one segment, {name...} one or more segments: the names of images
	// contain slashes.
	Path   string
	Handle Handler
	// Since is the version that introduced the operation. Zero means all versions.
	Since apiversion.Version
	// Early operations are served before the other services are ready.
	Early bool
}

// Handler serves an operation. A returned error is written as the response if nothing was written
// before.
type Handler func(w http.ResponseWriter, r *Request) error

// segment is a part of a path pattern.
type segment struct {
	literal string
	name    string // of a parameter; empty for a literal
	many    bool   // the parameter can have several segments
}

// compiled is an operation with its parsed path.
type compiled struct {
	Operation
	segments []segment
	many     bool
}

func compile(o Operation) compiled {
	c := compiled{Operation: o}
	for _, text := range strings.Split(strings.Trim(o.Path, "/"), "/") {
		s := segment{literal: text}
		if inner, ok := strings.CutPrefix(text, "{"); ok {
			s.name, s.many = strings.CutSuffix(strings.TrimSuffix(inner, "}"), "...")
		}
		c.segments, c.many = append(c.segments, s), c.many || s.many
	}
	return c
}

// match returns the parameters of a path, which is already split and unescaped.
func (c *compiled) match(path []string) (map[string]string, bool) {
	if len(path) != len(c.segments) && !c.many || len(path) < len(c.segments) {
		return nil, false
	}

	at := 0
	for _, s := range c.segments {
		if s.name == "" && path[at] != s.literal {
			return nil, false
		}
		at += c.size(s, path)
	}
	return c.params(path), true
}

// size returns the number of segments of a path that a segment of the pattern stands for.
func (c *compiled) size(s segment, path []string) int {
	if s.many {
		return 1 + len(path) - len(c.segments)
	}
	return 1
}

// params returns the parameters of a path that matches.
func (c *compiled) params(path []string) map[string]string {
	var params map[string]string
	at := 0
	for _, s := range c.segments {
		size := c.size(s, path)
		if s.name != "" {
			if params == nil {
				params = map[string]string{}
			}
			params[s.name] = strings.Join(path[at:at+size], "/")
		}
		at += size
	}
	return params
}

// split returns the unescaped segments of an escaped path. An escaped slash does not separate. Empty
// segments are omitted, so that a name can begin with a slash. ok is false for segments that would
// leave the tree.
func split(escaped string) (path []string, ok bool) {
	for text := range strings.SplitSeq(escaped, "/") {
		if text == "" {
			continue
		}
		segment, err := url.PathUnescape(text)
		if err != nil || segment == "." || segment == ".." || strings.ContainsRune(segment, 0) {
			return nil, false
		}
		path = append(path, segment)
	}
	return path, true
}
