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
	// Until ends Read at the first later record; the zero time means no limit.
	Until time.Time
	// Only is the stream to read; 0 means both. Tail counts the lines of both.
	Only Stream
	// Join joins adjacent records of one stream. An entry then has several lines and the time of its
	// last record.
	Join bool
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

	r := &reader{path: path, files: files}
	r.choose(o, emit)
	return r.run(ctx)
}

// run reads and closes the files.
func (r *reader) run(ctx context.Context) error {
	defer func() { r.files.close() }()
	if r.options.Tail >= 0 {
		if err := r.skipToTail(); err != nil {
			return unreadable(r.path, err)
		}
	}

	read := r.follow
	if r.options.Ended == nil {
		read = r.all
	}
	if err := read(ctx); !errors.Is(err, errLater) {
		return err
	}

	return nil
}

// choose sets what to read.
func (r *reader) choose(o Options, emit func(Entry) error) {
	r.options, r.emit, r.flush = o, emit, func() error { return nil }
	if o.Join {
		j := &joiner{emit: emit}
		r.emit, r.flush = j.add, j.flush
	}
}

// errLater ends a read at a record that is later than Options.Until.
var errLater = errors.New("the record is too late")

// Snapshot is the content of a log at the time of Open. Records that are added later are not read.
type Snapshot struct{ r *reader }

// Open opens the log at path. The caller must call Read or Close.
func Open(path string) (*Snapshot, error) {
	files, err := openChain(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return &Snapshot{&reader{path: path, files: files, frozen: true}}, nil
}

// Read calls emit with each entry and closes the snapshot.
func (s *Snapshot) Read(ctx context.Context, emit func(Entry) error) error {
	s.r.choose(Options{Tail: -1, Join: true}, emit)
	return s.r.run(ctx)
}

// Close closes the snapshot.
func (s *Snapshot) Close() { s.r.files.close() }
func unreadable(path string, err error) error {
	return fault.New(fault.Internal, "log "+path, "cannot be read", fault.WithCause(err))
}

type reader struct {
	path    string
	files   *chain // the first one is being read
	options Options
	emit    func(Entry) error
	flush   func() error  // emits joined records
	buf     *bufio.Reader // of the first file
	partial []byte        // start of a record that conmon has not completed
	frozen  bool          // read the files only up to their size when they were opened
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

// readNew reads new records, including those in files that conmon has started since.
func (r *reader) readNew(ctx context.Context) error {
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
		in := io.Reader(r.files.files[0])
		if r.frozen {
			in = io.LimitReader(in, r.files.infos[0].Size())
		}
		r.buf = bufio.NewReaderSize(in, blockSize)
	}

	err := r.records(ctx)
	return errors.Join(err, r.flush())
}

// records reads records to the current end of the file.
func (r *reader) records(ctx context.Context) error {
	for ctx.Err() == nil {
		record, err := r.buf.ReadSlice('\n')
		if err != nil {
			r.partial = append(r.partial, record...)
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
				continue
			case errors.Is(err, io.EOF):
				return nil
			}
			return unreadable(r.path, err)
		}
		if len(r.partial) > 0 {
			record = append(r.partial, record...)
			r.partial = nil
		}
		if err := r.record(record); err != nil {
			return err
		}
	}

	return ctx.Err()
}

// record emits a record if it is selected.
func (r *reader) record(record []byte) error {
	e, ok := Parse(record)
	switch {
	case !ok || e.Time.Before(r.options.Since):
		return nil
	case !r.options.Until.IsZero() && e.Time.After(r.options.Until):
		return errLater
	case r.options.Only != 0 && e.Stream != r.options.Only:
		return nil
	}
	return r.emit(e)
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
		if err := r.readNew(ctx); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-r.options.Ended:
			return r.readNew(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
