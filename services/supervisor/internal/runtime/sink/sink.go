// Package sink defines where the monitor of a container writes its output: a file, the journal of
// the host, both or nothing. Package launch chooses, package runtime passes it to conmon. It performs no
// I/O.
package sink

import "strconv"

// Sink holds the destinations of output. The zero value discards it; attached clients get it anyway.
type Sink struct {
	Path string // log file; empty means none
	// MaxSize is the size in bytes at which conmon replaces the log file by a new one; 0 means never.
	MaxSize int64
	Journal *Journal // nil means no journal
}

// Journal holds the fields of a container's records in the journal of systemd-journald.
type Journal struct{ Name, Tag string } // CONTAINER_NAME and CONTAINER_TAG

// Arguments returns the arguments of conmon for the container with an ID.
func (s Sink) Arguments(uid string) []string {
	var args []string
	name := uid
	if s.Path != "" {
		args = append(args, "--log-path", "k8s-file:"+s.Path)
	}
	if s.Journal != nil {
		name = s.Journal.Name
		args = append(args, "--log-path", "journald:", "--log-tag", s.Journal.Tag)
	}
	if len(args) == 0 {
		args = append(args, "--log-path", "none")
	}
	if s.MaxSize > 0 {
		args = append(args, "--log-size-max", strconv.FormatInt(s.MaxSize, 10))
	}
	return append(args, "--name", name)
}
