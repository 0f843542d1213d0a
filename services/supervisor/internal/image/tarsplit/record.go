// Package tarsplit records the structure of a tar archive while it is unpacked: headers and padding
// byte for byte, and a checksum of each file. With the record and the unpacked files it writes the
// archive again, byte for byte. The records have the format of github.com/vbatts/tar-split, which
// Docker uses too.
//
// Package layers calls it. It unpacks nothing, and opens no file by itself.
package tarsplit

import (
	"bufio"
	"encoding/json"
	"errors"
	"hash/crc64"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/vbatts/tar-split/archive/tar"
	"github.com/vbatts/tar-split/tar/storage"
)

// Summary describes a recorded archive.
type Summary struct {
	Size    int64  // bytes of the archive
	Inexact string // why the unpacked files cannot reproduce the archive; empty if they can
}

// Recorder records the archive that is written to it. Write never fails because of the content: an
// archive that cannot be recorded is reported by Close.
type Recorder struct {
	pipe *io.PipeWriter
	done chan struct{}
	sum  Summary
	err  error
}

// NewRecorder returns a Recorder that writes the record to out. Close must be called.
func NewRecorder(out io.Writer) *Recorder {
	pr, pw := io.Pipe()
	r := &Recorder{pipe: pw, done: make(chan struct{})}
	go r.run(pr, out)
	return r
}

// Write records the next bytes of the archive.
func (r *Recorder) Write(p []byte) (int, error) { return r.pipe.Write(p) }

// Close ends the archive and returns its summary. An error is a failure to write the record.
func (r *Recorder) Close() (Summary, error) {
	_ = r.pipe.Close()
	<-r.done
	return r.sum, r.err
}

func (r *Recorder) run(in *io.PipeReader, out io.Writer) {
	defer close(r.done)

	count := &counter{in: bufio.NewReaderSize(in, 256<<10)} // each read of the pipe waits for the writer
	w := newWriter(out)
	err := w.archive(count)
	_, _ = io.Copy(io.Discard, count) // the writer of the archive must not block

	r.sum.Size = count.n
	switch {
	case w.failed != nil:
		r.err = w.failed
		return
	case err != nil:
		r.sum.Inexact = err.Error()
	case w.inexact != "":
		r.sum.Inexact = w.inexact
	case w.n != count.n:
		r.sum.Inexact = "its files have another size than in the archive"
	}

	r.err = w.zip.Close()
}

// RecordRaw records an archive completely, with the content of its files. It returns the size of
// the archive.
func RecordRaw(in io.Reader, out io.Writer) (int64, error) {
	w := newWriter(out)
	if err := w.rest(in); err != nil {
		return 0, err
	}
	return w.n, w.zip.Close()
}

// writer writes the entries of a record.
type writer struct {
	zip     *gzip.Writer
	enc     *json.Encoder
	n       int64 // bytes of the archive in the entries
	at      int   // position of the next entry
	failed  error // failure to write
	inexact string
	files   map[string]content
	buf     []byte
}

// content identifies the content of a file.
type content struct {
	size int64
	sum  string
}

func newWriter(out io.Writer) *writer {
	zip, _ := gzip.NewWriterLevel(out, gzip.BestSpeed) // the level is valid
	return &writer{zip: zip, enc: json.NewEncoder(zip), files: map[string]content{}, buf: make([]byte, 32<<10)}
}

func (w *writer) put(e storage.Entry) error {
	e.Position = w.at
	w.at++
	if err := w.enc.Encode(e); err != nil {
		w.failed = err
		return err
	}
	return nil
}

func (w *writer) segment(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	w.n += int64(len(raw))
	return w.put(storage.Entry{Type: storage.SegmentType, Payload: raw})
}

// archive records an archive. An error is a failure to read the archive or to write the record.
func (w *writer) archive(in io.Reader) error {
	tr := tar.NewReader(in)
	tr.RawAccounting = true
	for {
		h, err := tr.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if serr := w.segment(tr.RawBytes()); serr != nil {
			return serr
		}
		if err != nil {
			return w.rest(in)
		}
		if isSparse(h) {
			return errors.New("it contains sparse files")
		}
		if err := w.file(h, tr); err != nil {
			return err
		}
	}
}

// rest records bytes without interpretation.
func (w *writer) rest(in io.Reader) error {
	for {
		n, err := io.ReadFull(in, w.buf)
		if serr := w.segment(w.buf[:n]); serr != nil {
			return serr
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// file records the content of a file by its checksum.
func (w *writer) file(h *tar.Header, in io.Reader) error {
	sum := crc64.New(storage.CRCTable)
	n, err := io.CopyBuffer(sum, in, w.buf)
	if err != nil {
		return err
	}

	w.n += n
	e := storage.Entry{Type: storage.FileType, Size: n}
	e.SetName(h.Name)
	if n > 0 {
		e.Payload = sum.Sum(nil)
	}
	w.remember(h, content{n, string(e.Payload)})

	return w.put(e)
}

// remember notes what the unpacked directory will not have: a file that a later entry replaces, and
// the content of a whiteout.
func (w *writer) remember(h *tar.Header, c content) {
	name := path.Clean("/" + h.Name)
	before, twice := w.files[name]
	switch {
	case twice && before != c:
		w.inexact = "it contains " + name + " more than once"
	case c.size > 0 && strings.HasPrefix(path.Base(name), ".wh."):
		w.inexact = "it contains a whiteout with content, " + name
	case c.size > 0:
		w.files[name] = c
	}
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// counter counts the bytes that are read.
type counter struct {
	in io.Reader
	n  int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}
