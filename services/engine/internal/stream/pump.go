package stream

import (
	"bytes"
	"context"
	"errors"
	"io"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Call is a call of the supervisor that is attached to a process.
type Call struct {
	Send   func(*containerv1.Input) error      // fails only if Output also comes to its end
	Output func() (*containerv1.Output, error) // io.EOF after the exit of the process
	Cancel context.CancelFunc
}

// Options select what is forwarded.
type Options struct {
	Stdin, Stdout, Stderr bool
	// CloseStdin closes the input of the process when the client closes its side.
	CloseStdin bool
	// DetachKeys detach the client. Empty means none.
	DetachKeys []byte
}

// Pump forwards output and input until the process exits, the client detaches or disconnects, or ctx ends.
// Then it closes both sides, and the process keeps running.
func Pump(ctx context.Context, c Client, call Call, o Options) {
	end := func() {
		call.Cancel()
		c.Close()
	}
	stop := context.AfterFunc(ctx, end)
	defer stop()
	defer end()

	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		in := input{over, c, call, o}
		in.forward()
		end()
	}()
	forwardOutput(c, call, o)
	c.Close()
	close(over)
	<-done
}

// forwardOutput forwards output until the process exits or the client is gone.
func forwardOutput(c Client, call Call, o Options) {
	for {
		out, err := call.Output()
		if err != nil {
			return
		}
		stream := Stdout
		if out.GetStream() == containerv1.StreamKind_STREAM_KIND_STDERR {
			stream = Stderr
		}
		if stream == Stdout && !o.Stdout || stream == Stderr && !o.Stderr {
			continue
		}
		if c.Write(stream, out.GetData()) != nil {
			return
		}
	}
}

// input forwards the input of a client.
type input struct {
	over   <-chan struct{} // closed after the output
	client Client
	call   Call
	Options
}

// The size of a message. Most clients type, or send nothing.
const (
	minInput = 1 << 10
	maxInput = 32 << 10
	unused   = 64 // without input
)

// forward forwards input until the client detaches or is gone, or until the output is over.
func (in input) forward() {
	keys := detachScanner{keys: in.DetachKeys}
	size := minInput
	if !in.Stdin {
		size = unused
	}
	buffer := make([]byte, size)
	for {
		n, err := in.client.Read(buffer)
		if n > 0 && in.Stdin {
			data, detached := keys.scan(bytes.Clone(buffer[:n])) // a message must not change after Send
			if len(data) > 0 && !in.send(&containerv1.Input{Event: &containerv1.Input_Stdin{Stdin: data}}) {
				return
			}
			if detached {
				in.send(&containerv1.Input{Event: &containerv1.Input_Detach{Detach: true}})
				return
			}
		}
		if errors.Is(err, io.EOF) {
			in.closed()
			return
		}
		if err != nil {
			return
		}
		if n == len(buffer) && n < maxInput && in.Stdin {
			buffer = make([]byte, maxInput)
		}
	}
}

// send sends input. After a failure the call has ended, and send waits until its last output is forwarded.
func (in input) send(event *containerv1.Input) (ok bool) {
	if in.call.Send(event) == nil {
		return true
	}
	<-in.over
	return false
}

// closed handles the end of the input: the client has closed its side, or the connection.
func (in input) closed() {
	if in.Stdin && in.CloseStdin &&
		!in.send(&containerv1.Input{Event: &containerv1.Input_StdinClosed{StdinClosed: true}}) {
		return
	}
	if c, ok := in.client.(*conn); ok {
		watchHangup(in.over, c.Conn)
	}
}
