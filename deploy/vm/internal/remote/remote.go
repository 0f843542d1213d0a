// Package remote has a machine run commands that it is told one after the other, by a serial port. It is for the program that starts
// machines and for their first process.
package remote

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Request is a command to be run.
type Request struct {
	Args  []string
	Limit time.Duration // it is killed then
}

// Reply is how it went.
type Reply struct {
	Out, Errs []byte
	Code      int
}

// Serve runs what is asked for until the other side closes.
func Serve(port io.ReadWriter, run func(Request) Reply) error {
	answers := json.NewEncoder(port)
	for questions := json.NewDecoder(port); ; {
		var q Request
		if err := questions.Decode(&q); err != nil {
			return fmt.Errorf("hear what to run: %w", err)
		}
		if len(q.Args) == 0 {
			return nil
		}
		if err := answers.Encode(run(q)); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

// Machine is the other side. It is safe for concurrent use; one command runs at a time.
type Machine struct {
	mu      sync.Mutex
	ask     *json.Encoder
	answers *json.Decoder
}

// On asks by a port.
func On(port io.ReadWriter) *Machine {
	return &Machine{ask: json.NewEncoder(port), answers: json.NewDecoder(port)}
}

// Run runs a command. An error means that the machine did not answer.
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

// End has Serve return.
func (m *Machine) End() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ask.Encode(Request{})
}
