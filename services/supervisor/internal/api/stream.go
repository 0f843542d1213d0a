package api

import (
	"context"
	"errors"
	"io"
	"math"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/signal"
)

// client is the client side of an attached stream.
type client struct {
	recv   func() (*containerv1.Input, error)
	send   func(*containerv1.Output) error
	signal func(context.Context, syscall.Signal) error
	only   runtime.Stream // the stream that the client wants; 0 means both
}

// output sends a frame, unless the client does not want its stream.
func (c client) output(f runtime.Frame) error {
	if c.only != 0 && c.only != f.Stream {
		return nil
	}
	return c.send(&containerv1.Output{Stream: streamKinds[f.Stream], Data: f.Data})
}

// streamFromProto converts the choice of a stream; 0 means both.
func streamFromProto(kind containerv1.StreamKind) (runtime.Stream, error) {
	if kind == containerv1.StreamKind_STREAM_KIND_UNSPECIFIED {
		return 0, nil
	}
	for stream, k := range streamKinds {
		if k == kind {
			return stream, nil
		}
	}
	return 0, fault.Invalidf("stream", "stream", "%d is not a valid stream", kind)
}

// errDetached reports that the client detached.
var errDetached = errors.New("detached")

// pump forwards output and input until the end of the output. It returns errDetached if the client
// detaches, or the error of the connection.
func (c client) pump(ctx context.Context, process launch.Output) error {
	stop := context.AfterFunc(ctx, func() { _ = process.Close() }) // also after the end of the input
	defer stop()
	inputErr := make(chan error, 1)
	go func() {
		err := c.readInput(ctx, process)
		if err != nil { // the end of input does not end the output
			inputErr <- err
			_ = process.Close()
		}
	}()

	for {
		frame, err := process.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = c.output(frame)
		}
		if err != nil {
			select {
			case cause := <-inputErr: // the client disconnected, which closed the process
				return cause
			default:
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
	}
}

var streamKinds = map[runtime.Stream]containerv1.StreamKind{
	runtime.Stdout: containerv1.StreamKind_STREAM_KIND_STDOUT,
	runtime.Stderr: containerv1.StreamKind_STREAM_KIND_STDERR,
}

// readInput forwards input until the client closes its side, detaches or disconnects. Input that
// the process does not accept is dropped.
func (c client) readInput(ctx context.Context, process launch.Output) error {
	for {
		in, err := c.recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch e := in.GetEvent().(type) {
		case *containerv1.Input_Stdin:
			_, _ = process.Write(e.Stdin)
		case *containerv1.Input_StdinClosed:
			_ = process.CloseStdin()
		case *containerv1.Input_Resize:
			if rows, cols, err := sizeFromProto(e.Resize); err == nil {
				_ = process.Resize(rows, cols)
			}
		case *containerv1.Input_Signal:
			if sig, err := signal.Parse(e.Signal); err == nil {
				_ = c.signal(ctx, sig)
			}
		case *containerv1.Input_Detach:
			return errDetached
		}
	}
}

// sizeFromProto converts a terminal size; 0, 0 if unset.
func sizeFromProto(s *containerv1.TerminalSize) (rows, cols uint16, err error) {
	if s.GetRows() > math.MaxUint16 || s.GetColumns() > math.MaxUint16 {
		return 0, 0, fault.Invalidf("terminal", "size", "%d rows and %d columns exceed the maximum terminal size",
			s.GetRows(), s.GetColumns())
	}
	return uint16(s.GetRows()), uint16(s.GetColumns()), nil
}
