// Package logdriver defines the log drivers of containers and their options. It performs no I/O:
// package logfile rotates and reads the files. Package container uses it.
package logdriver

import (
	"math"
	"strconv"
	"strings"
)

// Config is the log driver of a container with its options.
type Config struct {
	Driver  string            `json:",omitempty"` // empty: JSONFile
	Options map[string]string `json:",omitempty"` // see the constants
}

// Log drivers and options. The drivers that write files write the same format, which logs reads.
// Journald writes to the journal of the host, and a bounded copy to files, so that logs can read it
// without the journal.
const (
	JSONFile = "json-file"
	Local    = "local"
	Journald = "journald"
	None     = "none"

	MaxSize  = "max-size"
	MaxFile  = "max-file"
	Compress = "compress"
	Mode     = "mode"

	CacheDisabled = "cache-disabled"
	CacheMaxSize  = "cache-max-size"
	CacheMaxFile  = "cache-max-file"
)

// Limits of the copy of a journal, as in Docker.
const (
	cacheSize  = 20 << 20
	cacheFiles = 5
)

// Bounds of a container's log.
const (
	minLogSize  = 64 << 10
	maxLogFiles = 100
)

// unsupportedLogs lists Docker's other log drivers.
var unsupportedLogs = []string{"syslog", "fluentd", "gelf", "awslogs", "splunk", "gcplogs", "etwlogs"}

// Size returns the size of one file; ok is false if the option is not set. 0 means unlimited.
func (l Config) Size() (n int64, ok bool) {
	key, size := MaxSize, int64(0)
	if l.Driver == Journald {
		key, size, ok = CacheMaxSize, cacheSize, true
	}
	text, set := l.Options[key]
	if !set {
		return size, ok
	}
	n, _ = parseLogSize(text)
	return n, true
}

// Files returns the number of files; ok is false if the option is not set.
func (l Config) Files() (n int, ok bool) {
	key, files := MaxFile, 0
	if l.Driver == Journald {
		key, files, ok = CacheMaxFile, cacheFiles, true
	}
	text, set := l.Options[key]
	if !set {
		return files, ok
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// WritesFiles reports whether output is written to files, which logs reads.
func (l Config) WritesFiles() bool {
	disabled, _ := strconv.ParseBool(l.Options[CacheDisabled])
	return l.Driver != None && (l.Driver != Journald || !disabled)
}

// JournalTag returns the tag of a container's records in the journal: its short ID by default, as in
// Docker.
func (l Config) JournalTag(s Subject) string { return tagOf(l, s, "{{.ID}}") }

// parseLogSize parses 512k, 10m or 1g in Docker's binary units. -1 means unlimited.
func parseLogSize(text string) (n int64, ok bool) {
	if text == "-1" {
		return 0, true
	}
	number, unit := strings.TrimSuffix(strings.ToLower(text), "b"), int64(1)
	for i, suffix := range []string{"k", "m", "g"} {
		if cut, found := strings.CutSuffix(number, suffix); found {
			number, unit = cut, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, n*unit >= minLogSize
}

// driver returns the name of the driver.
func (l Config) driver() string {
	if l.Driver == "" {
		return JSONFile
	}
	return l.Driver
}

// Names returns the log drivers, sorted.
func Names() []string { return []string{Journald, JSONFile, Local, None} }
