package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/inotify"
)

// Limit is the limit of a container's log.
type Limit struct {
	Size  int64 // bytes of one file; 0 means unlimited
	Files int   // files to keep, at least 1
}

// Name is the name of a container's log file in its directory.
const Name = "container.log"

// keepName is a hard link to the file that conmon writes to.
const keepName = Name + ".keep"

func rotated(dir string, n int) string { return filepath.Join(dir, fmt.Sprintf("%s.%d", Name, n)) }

// Rotator keeps the files that conmon replaces. A nil Rotator does nothing and has no limit.
//
// conmon replaces a file when the container has written Limit.Size bytes, and keeps none. If it replaces two
// before the Rotator sees the first, the second one is lost: when the agent does not run, or lags by the
// output of a whole file. Rotation by the agent alone, through conmon's request to reopen its log, would
// lose nothing, but a container would fill the disk while no agent runs. A larger limit of conmon as a
// fallback needs a multiple of the space that a user asked for, for the same time at best.
type Rotator struct {
	limit   Limit
	log     *slog.Logger
	watcher *inotify.Watcher
	stopped chan struct{}

	mu      sync.Mutex // guards the maps and the files of tracked directories
	dirs    map[int]string
	watches map[string]int
	files   map[string]int // number of files to keep, by directory
}

// NewRotator starts a Rotator. Close stops it.
func NewRotator(limit Limit, log *slog.Logger) (*Rotator, error) {
	w, err := inotify.New()
	if err != nil {
		return nil, err
	}
	r := &Rotator{limit: limit, log: log, watcher: w, stopped: make(chan struct{}), dirs: map[int]string{},
		watches: map[string]int{}, files: map[string]int{}}
	go r.run()
	return r, nil
}

// Close stops the rotation. conmon continues to limit the current files.
func (r *Rotator) Close() error {
	err := r.watcher.Close()
	<-r.stopped
	return err
}

// Standard returns the limit of logs without one of their own.
func (r *Rotator) Standard() Limit {
	if r == nil {
		return Limit{}
	}
	return r.limit
}

// Track starts rotating the log in a container's directory. It must be called before conmon starts,
// and after each agent start.
func (r *Rotator) Track(dir string, limit Limit) error {
	if r == nil || limit.Size == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	watch, err := r.watcher.Add(dir, inotify.Created|inotify.MovedIn)
	if err != nil {
		return err
	}
	r.dirs[watch], r.watches[dir], r.files[dir] = dir, watch, limit.Files
	return r.rotate(dir)
}

// Begin prepares a log that a new conmon continues, and returns the size at which conmon replaces its
// files. conmon counts bytes from zero, so it gets what the file has left, or a new file if that is
// less than half of the limit.
func (r *Rotator) Begin(dir string, limit Limit) (size int64, err error) {
	if r == nil || limit.Size == 0 {
		return limit.Size, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	path := filepath.Join(dir, Name)
	info, err := os.Stat(path)
	if err != nil {
		return limit.Size, nil // there is none
	}
	if left := limit.Size - info.Size(); left >= limit.Size/2 {
		return left, nil
	}

	r.files[dir] = limit.Files
	if err := r.rotate(dir); err != nil { // .keep links to the same file now
		return 0, err
	}
	if err := os.Remove(path); err != nil {
		return 0, err
	}

	return limit.Size, r.shift(dir)
}

// Untrack stops rotating a log. The Rotator does not access the directory after Untrack returns.
func (r *Rotator) Untrack(dir string) {
	if r == nil {
		return
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	watch, ok := r.watches[dir]
	if !ok {
		return
	}

	_ = r.watcher.Remove(watch) // fails if the directory was removed, which removes the watch
	delete(r.watches, dir)
	delete(r.dirs, watch)
	delete(r.files, dir)
}

func (r *Rotator) run() {
	defer close(r.stopped)
	for {
		events, err := r.watcher.Next()
		if err != nil {
			return // closed
		}
		for _, e := range events {
			if e.Name == Name || e.Overflow {
				r.changed(e)
			}
		}
	}
}

func (r *Rotator) changed(e inotify.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for watch, dir := range r.dirs {
		if watch != e.Watch && !e.Overflow {
			continue
		}
		if err := r.rotate(dir); err != nil {
			r.log.Warn("log rotation failed, older output is lost", "directory", dir, "error", err)
		}
	}
}

// rotate preserves the file that conmon has replaced, and links the current one to .keep. mu must
// be held.
func (r *Rotator) rotate(dir string) error {
	path, keep := filepath.Join(dir, Name), filepath.Join(dir, keepName)
	current, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // conmon has not started
	}
	if err != nil {
		return err
	}

	kept, err := os.Lstat(keep)
	switch {
	case err == nil && os.SameFile(current, kept):
		return nil
	case err == nil:
		if err := r.shift(dir); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}

	if err := os.Link(path, keep); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	return nil
}

// shift renames .keep to .1, .1 to .2 and so on, and removes the oldest file.
func (r *Rotator) shift(dir string) error {
	last := r.files[dir] - 1
	if last < 1 {
		return os.Remove(filepath.Join(dir, keepName))
	}
	for n := last - 1; n >= 1; n-- {
		if err := os.Rename(rotated(dir, n), rotated(dir, n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(filepath.Join(dir, keepName), rotated(dir, 1))
}
