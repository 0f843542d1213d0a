// Package remote runs commands on a machine through a serial port, sequentially. The command vm and
// the init process of the machine use it.
package remote

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Request is a command to run.
type Request struct {
	Args  []string
	Limit time.Duration // time limit, after which it is killed
}

// Reply is the result of a command.
type Reply struct {
	Out, Errs []byte
	Code      int
}

// Serve runs requests until the other side closes the port.
func Serve(port io.ReadWriter, run func(Request) Reply) error {
	answers := json.NewEncoder(port)
	for questions := json.NewDecoder(port); ; {
		var q Request
		if err := questions.Decode(&q); err != nil {
			return fmt.Errorf("receive request: %w", err)
		}
		if len(q.Args) == 0 {
			return nil
		}
		if err := answers.Encode(run(q)); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

// Machine sends requests to a machine. It is safe for concurrent use; one command runs at a time.
type Machine struct {
	mu      sync.Mutex
	ask     *json.Encoder
	answers *json.Decoder
}

// On returns a Machine for a port.
func On(port io.ReadWriter) *Machine {
	return &Machine{ask: json.NewEncoder(port), answers: json.NewDecoder(port)}
}

// Run runs a command. An error means that the machine did not respond.
func (m *Machine) Run(limit time.Duration, args ...string) (Reply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var r Reply
	if err := m.ask.Encode(Request{args, limit}); err != nil {
		return r, fmt.Errorf("ask the machine: %w", err)
	}
	if err := m.answers.Decode(&r); err != nil {
		return r, fmt.Errorf("the machine is not responding: %w", err)
	}
	return r, nil
}

// End makes Serve return.
func (m *Machine) End() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ask.Encode(Request{})
}
