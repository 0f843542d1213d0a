package logfile

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/inotify"
)

// Options select the records to read.
type Options struct {
	// Tail is the number of lines to read from the end; negative means all.
	Tail int
	// Since excludes older records; the zero time excludes none.
	Since time.Time
	// Ended makes Read follow the log until the channel is closed, when the container has ended.
	// Read then reads the remaining records and returns. Nil means not to follow.
	Ended <-chan struct{}
}

// Read calls emit with each entry of a container's log, in order. It ends as the options say, on an
// error of emit, or when ctx is done. A log that does not exist is empty. path is the newest file;
// Read includes the replaced ones.
func Read(ctx context.Context, path string, o Options, emit func(Entry) error) error {
	files, err := openChain(path)
	if err != nil {
		return unreadable(path, err)
	}

	r := &reader{path: path, files: files, options: o, emit: emit}
	defer func() { r.files.close() }()
	if o.Tail >= 0 {
		if err := r.skipToTail(); err != nil {
			return unreadable(path, err)
		}
	}
	if o.Ended == nil {
		return r.all(ctx)
	}

	return r.follow(ctx)
}

func unreadable(path string, err error) error {
	return fault.New(fault.Internal, "log "+path, "cannot be read", fault.WithCause(err))
}

type reader struct {
	path    string
	files   *chain // the first one is being read
	options Options
	emit    func(Entry) error
	buf     *bufio.Reader // of the first file
	partial []byte        // start of a record that conmon has not completed
}

func (r *reader) skipToTail() error {
	offset, err := tailOffset(r.files, r.files.size(), r.options.Tail)
	if err != nil {
		return err
	}
	return r.files.skip(offset)
}

// all reads to the current end of all files. The last one stays open.
func (r *reader) all(ctx context.Context) error {
	for len(r.files.files) > 0 {
		if err := r.rest(ctx); err != nil || len(r.files.files) == 1 {
			return err
		}
		r.next()
	}
	return nil
}

// next continues with the next file. Records do not span files.
func (r *reader) next() {
	r.files.drop()
	r.buf, r.partial = nil, nil
}

// catchUp reads new records, including those in files that conmon has started since.
func (r *reader) catchUp(ctx context.Context) error {
	for {
		if r.isNewest() {
			return r.all(ctx)
		}
		newer, err := openChain(r.path)
		if err != nil {
			return unreadable(r.path, err)
		}
		if n := len(r.files.infos); n > 0 {
			newer.after(r.files.infos[n-1])
		}
		// The open files are read after the check for newer ones. If there are any, the open files
		// are complete.
		if err := r.all(ctx); err != nil || len(newer.files) == 0 {
			newer.close()
			return err
		}
		r.files.close()
		r.files, r.buf, r.partial = newer, nil, nil
	}
}

// isNewest reports whether the last open file is the one that conmon writes to.
func (r *reader) isNewest() bool {
	n := len(r.files.infos)
	info, err := os.Stat(r.path)
	return err == nil && n > 0 && os.SameFile(info, r.files.infos[n-1])
}

// rest reads the first file to its current end.
func (r *reader) rest(ctx context.Context) error {
	if r.buf == nil {
		r.buf = bufio.NewReaderSize(r.files.files[0], blockSize)
	}

	for ctx.Err() == nil {
		record, err := r.buf.ReadBytes('\n')
		if err != nil {
			r.partial = append(r.partial, record...)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return unreadable(r.path, err)
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

// follow continues to read when the log grows or is replaced.
func (r *reader) follow(ctx context.Context) error {
	w, err := inotify.Watch(filepath.Dir(r.path), inotify.Grown|inotify.MovedIn|inotify.Created)
	if err != nil {
		return unreadable(r.path, err)
	}

	changed, stopped := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			if _, err := w.Next(); err != nil {
				return // closed
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	defer func() {
		_ = w.Close()
		<-stopped
	}()

	for {
		if err := r.catchUp(ctx); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-r.options.Ended:
			return r.catchUp(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
