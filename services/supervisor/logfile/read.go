package logfile

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/supervisor/runtime/inotify"
)

// Options say what to read.
type Options struct {
	// Tail is how many lines to read from the end; negative means all.
	Tail int
	// Since leaves out what is older; the zero time leaves nothing out.
	Since time.Time
	// Ended makes Read go on with what is written later. When it is closed, which tells that the container has ended, Read reads what is
	// left and returns. Nil means not to go on.
	Ended <-chan struct{}
}

// Read calls emit with each piece of a container's output, in order, until the end that the options say, or emit fails, or ctx ends. A log
// that is not there is empty.
func Read(ctx context.Context, path string, o Options, emit func(Entry) error) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unreadable(path, err)
	}
	defer func() { _ = f.Close() }()
	r := &reader{f: f, options: o, emit: emit}
	if o.Tail >= 0 {
		if err := r.skipToTail(); err != nil {
			return unreadable(path, err)
		}
	}
	if o.Ended == nil {
		return r.rest(ctx)
	}
	return r.follow(ctx, path)
}

func unreadable(path string, err error) error {
	return fault.New(fault.Internal, "log "+path, "it cannot be read", fault.WithCause(err))
}

type reader struct {
	f       *os.File
	options Options
	emit    func(Entry) error
	buf     *bufio.Reader
	partial []byte // of a record that conmon has not written to its end
}

func (r *reader) skipToTail() error {
	info, err := r.f.Stat()
	if err != nil {
		return err
	}
	offset, err := tailOffset(r.f, info.Size(), r.options.Tail)
	if err == nil {
		_, err = r.f.Seek(offset, io.SeekStart)
	}
	return err
}

// rest reads to the end of what is written now.
func (r *reader) rest(ctx context.Context) error {
	if r.buf == nil {
		r.buf = bufio.NewReaderSize(r.f, blockSize)
	}
	for ctx.Err() == nil {
		record, err := r.buf.ReadBytes('\n')
		if err != nil {
			r.partial = append(r.partial, record...)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return unreadable(r.f.Name(), err)
		}
		if len(r.partial) > 0 {
			record = append(r.partial, record...)
			r.partial = nil
		}
		e, ok := Parse(record)
		if !ok || e.Time.Before(r.options.Since) {
			continue
		}
		if err := r.emit(e); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// follow reads on whenever the file grows.
func (r *reader) follow(ctx context.Context, path string) error {
	w, err := inotify.Watch(path, inotify.Grown)
	if err != nil {
		return unreadable(path, err)
	}
	grown, stopped := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			if _, err := w.Next(); err != nil {
				return // closed
			}
			select {
			case grown <- struct{}{}:
			default:
			}
		}
	}()
	defer func() {
		_ = w.Close()
		<-stopped
	}()
	for {
		if err := r.rest(ctx); err != nil {
			return err
		}
		select {
		case <-grown:
		case <-r.options.Ended:
			return r.rest(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
