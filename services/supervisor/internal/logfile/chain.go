package logfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// chain is the files of a log, oldest first. ReadAt sees a snapshot: sizes are those at the time of
// opening.
type chain struct {
	files []*os.File
	infos []os.FileInfo
}

// openChain opens the files of the log at path. The chain is empty if the container has not written
// yet. It opens the newest file first, so that a file renamed meanwhile is found twice instead of
// missed.
func openChain(path string) (*chain, error) {
	dir := filepath.Dir(path)
	c := &chain{}
	names := []string{path, path + ".keep"}
	for n := 1; ; n++ {
		if len(names) < n {
			names = append(names, rotated(dir, n-2))
		}
		found, err := c.open(names[n-1])
		if err != nil {
			c.close()
			return nil, err
		}
		if !found && n > 2 {
			return c, nil
		}
	}
}

// open prepends a file, unless it is already in the chain.
func (c *chain) open(name string) (found bool, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}

	info, err := f.Stat()
	if err != nil || c.index(info) >= 0 {
		return true, errors.Join(err, f.Close())
	}

	c.files, c.infos = append([]*os.File{f}, c.files...), append([]os.FileInfo{info}, c.infos...)
	return true, nil
}

// index returns the index of a file in the chain; -1 if it is not in it.
func (c *chain) index(info os.FileInfo) int {
	for i, other := range c.infos {
		if os.SameFile(info, other) {
			return i
		}
	}
	return -1
}

func (c *chain) size() (n int64) {
	for _, info := range c.infos {
		n += info.Size()
	}
	return n
}

// ReadAt reads from the concatenation of the files.
func (c *chain) ReadAt(p []byte, off int64) (n int, err error) {
	for i, f := range c.files {
		size := c.infos[i].Size()
		if off < size && n < len(p) {
			want := min(int64(len(p)-n), size-off)
			got, err := f.ReadAt(p[n:n+int(want)], off)
			if n += got; int64(got) < want {
				return n, err
			}
		}
		off = max(0, off-size)
	}

	if n < len(p) {
		return n, io.EOF
	}

	return n, nil
}

// skip drops the files before an offset, and seeks to it in the first remaining one.
func (c *chain) skip(offset int64) error {
	for len(c.files) > 1 && offset >= c.infos[0].Size() {
		offset -= c.infos[0].Size()
		c.drop()
	}
	if len(c.files) == 0 {
		return nil
	}
	_, err := c.files[0].Seek(offset, io.SeekStart)
	return err
}

// drop closes the oldest file.
func (c *chain) drop() {
	_ = c.files[0].Close()
	c.files, c.infos = c.files[1:], c.infos[1:]
}

func (c *chain) close() {
	for len(c.files) > 0 {
		c.drop()
	}
}

// after drops all files up to and including the given one. If that was removed, all remaining files
// are newer.
func (c *chain) after(info os.FileInfo) {
	for i := c.index(info); i >= 0; i-- {
		c.drop()
	}
}
