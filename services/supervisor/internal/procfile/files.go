package procfile

import (
	"golang.org/x/sys/unix"
)

// maxOpen bounds the files that a Files keeps open.
const maxOpen = 4096

// Files reads the same files again and again. It keeps them open, as most of the time of a read is for
// opening the file. It must not be used concurrently.
type Files struct {
	open map[string]*openFile
	max  int
	buf  []byte
}

type openFile struct {
	fd   int
	used bool // since the last Sweep
}

// NewFiles returns a Files without open files. Close releases it.
func NewFiles() *Files {
	f := &Files{open: map[string]*openFile{}, buf: make([]byte, 16<<10)}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		f.max = int(min(limit.Cur/8, maxOpen)) // the rest of the process needs files too
	}
	return f
}

// Read reads a file of a cgroup, or another one of which each read fills the buffer until the end. A file
// that was removed and created again is opened again.
func (f *Files) Read(path string) (string, error) {
	if kept := f.open[path]; kept != nil {
		if text, err := f.content(kept.fd); err == nil {
			kept.used = true
			return text, nil
		}
		f.forget(path)
	}

	fd, err := open(path)
	if err != nil {
		return "", err
	}
	text, err := f.content(fd)
	if err != nil || len(f.open) >= f.max {
		_ = unix.Close(fd)
		return text, err
	}
	f.open[path] = &openFile{fd, true}
	return text, nil
}

// content reads an open file from its start. A read that does not fill the buffer ends the file.
func (f *Files) content(fd int) (string, error) {
	for n := 0; ; {
		got, err := retry(func() (int, error) { return unix.Pread(fd, f.buf[n:], int64(n)) })
		if err != nil {
			return "", err
		}
		if n += got; n < len(f.buf) {
			return string(f.buf[:n]), nil
		}
		f.buf = append(f.buf, make([]byte, len(f.buf))...)
	}
}

// Sweep closes the files that were not read since the last Sweep.
func (f *Files) Sweep() {
	for path, kept := range f.open {
		if !kept.used {
			f.forget(path)
		}
		kept.used = false
	}
}

// Close closes all files.
func (f *Files) Close() {
	for path := range f.open {
		f.forget(path)
	}
}

func (f *Files) forget(path string) {
	_ = unix.Close(f.open[path].fd)
	delete(f.open, path)
}
