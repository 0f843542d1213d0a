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
	Send   func(*containerv1.Input) error
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		call.Cancel()
		c.Close()
	})
	defer stop()
	defer c.Close()
	defer call.Cancel()

	done := make(chan struct{})
	go func() {
		defer close(done)
		if in := (input{ctx, c, call, o}); in.forward() {
			cancel()
		}
	}()
	forwardOutput(c, call, o)
	c.Close()
	cancel()
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
	ctx    context.Context
	client Client
	call   Call
	Options
}

// The size of a message. Most clients type, or send nothing.
const (
	minInput = 1 << 10
	maxInput = 32 << 10
)

// forward forwards input. It returns true when the client detached or is gone.
func (in input) forward() (over bool) {
	keys := detachScanner{keys: in.DetachKeys}
	buffer := make([]byte, minInput)
	for {
		n, err := in.client.Read(buffer)
		if n > 0 && in.Stdin {
			data, detached := keys.scan(bytes.Clone(buffer[:n])) // a message must not change after Send
			if len(data) > 0 && in.call.Send(&containerv1.Input{Event: &containerv1.Input_Stdin{Stdin: data}}) != nil {
				return true
			}
			if detached {
				_ = in.call.Send(&containerv1.Input{Event: &containerv1.Input_Detach{Detach: true}})
				return true
			}
		}
		if err != nil {
			return in.ended(err)
		}
		if n == len(buffer) && n < maxInput {
			buffer = make([]byte, maxInput)
		}
	}
}

// ended handles the end of the input: the client has closed its side, or the connection.
func (in input) ended(err error) (over bool) {
	if !errors.Is(err, io.EOF) {
		return true
	}
	if in.Stdin && in.CloseStdin {
		if in.call.Send(&containerv1.Input{Event: &containerv1.Input_StdinClosed{StdinClosed: true}}) != nil {
			return true
		}
	}
	if c, ok := in.client.(*conn); ok {
		watchHangup(in.ctx, c.Conn)
		return true
	}
	return true
}
