// Package logfile reads and rotates the log of a container. conmon writes it in the Kubernetes
// format, one record a line. Read returns all records, the last lines or those since a time, and
// can follow the log until the container has ended. Packages run and api call it.
//
// conmon replaces the file when it has reached its size limit, even while no agent runs. A hard
// link to the file, .keep, preserves the replaced file. The Rotator renames it to .1, that to .2,
// up to the number of files to keep.
//
//	2026-11-23T19:31:47.123456789+00:00 stdout F a whole line, or the end of one
//	2026-11-23T19:31:47.123456789+00:00 stderr P a part of a line, without its end
package logfile

import (
	"bytes"
	"time"
)

// Stream identifies an output stream.
type Stream int

// The streams.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// Entry is a piece of output: a line with its line feed, or a part of one. The concatenation of all
// entries is the output.
type Entry struct {
	Time    time.Time
	Stream  Stream
	Partial bool
	Data    []byte // valid until the callback returns
}

// Parse parses one record, with or without its line feed. It returns false if the record is not
// valid.
func Parse(record []byte) (Entry, bool) {
	whole := record
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
		if len(whole) > len(record) {
			e.Data = whole[len(whole)-len(data)-1:] // with the line feed of the record
			break
		}
		e.Data = append(data[:len(data):len(data)], '\n')
	case "P":
		e.Partial, e.Data = true, data
	default:
		return Entry{}, false
	}

	return e, true
}

// endsLine reports whether a record ends a line of output. It does not parse the whole record.
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
