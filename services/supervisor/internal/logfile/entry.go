// Package logfile reads and rotates the log of a container as conmon writes it: one record a line, in Kubernetes' format. It reads
// all of it or the last lines, from a time on, and can continue until the container has ended.
//
// Conmon replaces the file by a new one when it has reached its limit, also while no agent runs. A second name of the file, .keep,
// preserves the one that was replaced; it becomes .1, and that .2, up to the number of files to keep.
//
//	2026-11-23T19:31:47.123456789+00:00 stdout F a whole line, or the end of one
//	2026-11-23T19:31:47.123456789+00:00 stderr P a part of a line, without its end
package logfile

import (
	"bytes"
	"time"
)

// Stream says where output was written to.
type Stream int

// The streams.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// Entry is a piece of output: a line with its end, or a part of one without. Pieces put together are what was written.
type Entry struct {
	Time    time.Time
	Stream  Stream
	Partial bool
	Data    []byte // valid until the callback returns
}

// Parse reads one record, with or without its line end. It answers false for what is none.
func Parse(record []byte) (Entry, bool) {
	record = bytes.TrimSuffix(record, []byte{'\n'})
	when, rest, _ := bytes.Cut(record, []byte{' '})
	stream, rest, _ := bytes.Cut(rest, []byte{' '})
	tag, data, found := bytes.Cut(rest, []byte{' '})
	at, err := time.Parse(time.RFC3339Nano, string(when))
	if err != nil || !found {
		return Entry{}, false
	}
	e := Entry{Time: at}
	switch string(stream) {
	case "stdout":
		e.Stream = Stdout
	case "stderr":
		e.Stream = Stderr
	default:
		return Entry{}, false
	}
	switch string(tag) {
	case "F":
		e.Data = append(data[:len(data):len(data)], '\n')
	case "P":
		e.Partial, e.Data = true, data
	default:
		return Entry{}, false
	}
	return e, true
}

// endsLine tells whether a record ends a line of output, without reading all of it.
func endsLine(record []byte) bool {
	for range 2 {
		_, rest, ok := bytes.Cut(record, []byte{' '})
		if !ok {
			return false
		}
		record = rest
	}
	return bytes.HasPrefix(record, []byte("F "))
}
