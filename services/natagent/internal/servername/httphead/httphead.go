// Package httphead reads the host names of the requests that an HTTP/1 client sends on a connection.
// Package servername uses it. It performs no I/O.
//
// It accepts only what all servers read alike: an ambiguous length, a bare line feed, a folded header or a
// second Host are errors, because a server could read another request than this package.
package httphead

import (
	"bytes"
	"errors"
	"strings"
)

// Limits.
const (
	// MaxHead is the longest head of a request.
	MaxHead = 16 << 10
	// maxBlank bounds the empty lines before a request.
	maxBlank = 4
)

// Errors of Feed.
var (
	ErrNotHTTP = errors.New("is not HTTP/1")
	ErrHead    = errors.New("has a request that is not valid")
	ErrNoHost  = errors.New("has a request without a host name")
	ErrSwitch  = errors.New("changes the protocol of the connection")
)

// part is a part of a request, of which the Reader expects one next.
type part int

const (
	requestLine part = iota
	headers
	chunkSize
	chunkEnd
	trailers
)

// Reader reads the requests of a connection.
type Reader struct {
	part    part
	line    []byte // as far as it is read
	size    int    // bytes of the present head or of the lines of a chunk
	blank   int
	body    int64 // following bytes of a body
	request request

	names    []string // that were not taken yet
	requests int
	upgrade  string // protocol that the first request asks for; no bytes may follow before the response
}

// Take returns the host names of the complete heads that were read since the last call.
func (r *Reader) Take() []string {
	names := r.names
	r.names = nil
	return names
}

// Skippable returns the number of following bytes that belong to a body.
func (r *Reader) Skippable() int64 { return r.body }

// Skip skips bytes, at most Skippable.
func (r *Reader) Skip(n int) { r.body -= int64(n) }

// Switching reports whether the client waits for the response to a request for another protocol.
func (r *Reader) Switching() bool { return r.upgrade != "" }

// Feed reads bytes up to a body, and returns their number.
func (r *Reader) Feed(b []byte) (n int, err error) {
	for n < len(b) && r.body == 0 {
		if r.Switching() {
			return n, ErrSwitch
		}
		c := b[n]
		n++
		r.line = append(r.line, c)
		if r.size++; r.size > MaxHead {
			return n, ErrHead
		}
		if c < ' ' && c != '\r' && c != '\n' && c != '\t' || c == 0x7f {
			return n, ErrNotHTTP
		}
		if c != '\n' {
			continue
		}

		line, ok := bytes.CutSuffix(r.line, []byte("\r\n"))
		if !ok || bytes.ContainsAny(line, "\r") {
			return n, ErrHead
		}
		text := string(line)
		r.line = r.line[:0]
		if err := r.endLine(text); err != nil {
			return n, err
		}
	}
	return n, nil
}

// endLine reads a line.
func (r *Reader) endLine(line string) error {
	switch r.part {
	case requestLine:
		if line == "" {
			if r.blank++; r.blank > maxBlank {
				return ErrNotHTTP
			}
			return nil
		}
		r.part, r.blank = headers, 0
		return r.request.start(line)
	case headers:
		if line != "" {
			return r.request.header(line)
		}
		return r.endHead()
	case chunkSize:
		return r.startChunk(line)
	case chunkEnd:
		if line != "" {
			return ErrHead
		}
		r.part = chunkSize
	case trailers:
		if line == "" {
			r.reset()
		}
	}
	return nil
}

// endHead reads the body as the head says.
func (r *Reader) endHead() error {
	q := r.request
	names, err := q.hosts()
	if err != nil {
		return err
	}
	length, err := q.length()
	if err != nil {
		return err
	}

	r.names = append(r.names, names...)
	r.requests++
	if q.upgrade != "" {
		if r.requests > 1 || length != 0 || q.chunked() {
			return ErrSwitch
		}
		r.upgrade = q.upgrade
	}
	r.reset()
	if q.chunked() {
		r.part = chunkSize
	}
	r.body = length
	return nil
}

func (r *Reader) reset() { r.part, r.request, r.size = requestLine, request{}, 0 }

// startChunk reads the line with the size of a chunk. After the chunk comes an empty line.
func (r *Reader) startChunk(line string) error {
	text, _, _ := strings.Cut(line, ";")
	n, err := number(strings.TrimRight(text, " \t"), 16)
	if err != nil {
		return err
	}
	r.size = 0
	r.part, r.body = chunkEnd, n
	if n == 0 {
		r.part = trailers
	}
	return nil
}

// Reply reads the first bytes of the server. opaque is true if the connection has another protocol now.
func (r *Reader) Reply(first []byte) (opaque bool, err error) {
	const switched = "HTTP/1.1 101"
	text := string(first[:min(len(first), len(switched))])
	if text != switched[:len(text)] || len(text) < len(switched) {
		r.upgrade = ""
		return false, nil
	}
	if !strings.EqualFold(r.upgrade, "websocket") {
		return false, ErrSwitch
	}
	return true, nil
}
