package buildkit

import (
	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// Status is a message of the progress of a build.
type Status struct {
	Raw      []byte // as BuildKit sent it
	Vertexes []Vertex
	Logs     []Log
	Warnings []string
}

// Vertex is the state of a step.
type Vertex struct {
	Digest, Name, Error        string
	Started, Completed, Cached bool
}

// Log is output of a step.
type Log struct {
	Vertex string // digest
	Data   []byte
}

// Fields of the messages of Status.
const (
	statusVertexes wire.Number = 1
	statusLogs     wire.Number = 3
	statusWarnings wire.Number = 4

	vertexDigest    wire.Number = 1
	vertexName      wire.Number = 3
	vertexCached    wire.Number = 4
	vertexStarted   wire.Number = 5
	vertexCompleted wire.Number = 6
	vertexError     wire.Number = 7

	logVertex wire.Number = 1
	logData   wire.Number = 4

	warningShort wire.Number = 3
)

// parseStatus parses a message of the progress.
func parseStatus(data []byte) (Status, error) {
	m, err := wire.Parse(data)
	if err != nil {
		return Status{}, err
	}
	s := Status{Raw: data}
	for _, v := range m.Messages(statusVertexes) {
		s.Vertexes = append(s.Vertexes, Vertex{Digest: v.Text(vertexDigest), Name: v.Text(vertexName),
			Error: v.Text(vertexError), Started: v.Data(vertexStarted) != nil,
			Completed: v.Data(vertexCompleted) != nil, Cached: v.Int(vertexCached) != 0})
	}
	for _, l := range m.Messages(statusLogs) {
		s.Logs = append(s.Logs, Log{Vertex: l.Text(logVertex), Data: l.Data(logData)})
	}
	for _, w := range m.Messages(statusWarnings) {
		s.Warnings = append(s.Warnings, w.Text(warningShort))
	}
	return s, nil
}
