package state

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// journal is the log of commits since a backup. A line has a CRC-32 in hexadecimal, a space and
// JSON. The first line is the header, each other line a commit. Only complete lines with
// consecutive serials are valid.
type journal struct {
	Generation string `json:"generation"`
	Base       uint64 `json:"base"` // the serial of the backup; 0: an empty store

	Commits []commit `json:"-"`

	size int64 // of the whole lines
}

// commit is one transaction.
type commit struct {
	Serial  uint64   `json:"n"`
	Changes []record `json:"c"`
}

// record is one record after a transaction. Without a value it was deleted.
type record struct {
	Table string          `json:"t"`
	Key   string          `json:"k"`
	Value json.RawMessage `json:"v,omitempty"`
}

// last returns the serial of the last commit.
func (j journal) last() uint64 { return j.Base + uint64(len(j.Commits)) }

// after returns the commits after a serial; ok is false if some of them are missing.
func (j journal) after(serial uint64) (_ []commit, ok bool) {
	if serial < j.Base || serial > j.last() {
		return nil, false
	}
	return j.Commits[serial-j.Base:], true
}

// readJournal reads the valid part of a log. A missing log is empty.
func readJournal(path string) (j journal, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return j, err
	}
	defer func() { _ = f.Close() }()
	in := bufio.NewReader(f)
	if j.size, err = readLine(in, &j); j.size == 0 {
		return journal{}, err
	}
	for {
		var c commit
		size, err := readLine(in, &c)
		if size == 0 || c.Serial != j.last()+1 {
			return j, err
		}
		j.Commits, j.size = append(j.Commits, c), j.size+size
	}
}

// readLine reads a line into v and returns its size. The size is 0 at the end and at the first
// damaged line.
func readLine(in *bufio.Reader, v any) (size int64, err error) {
	line, err := in.ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		return 0, nil // a line without an end was cut off
	}
	if err != nil {
		return 0, err
	}
	sum, text, found := bytes.Cut(line[:len(line)-1], []byte(" "))
	want, perr := strconv.ParseUint(string(sum), 16, 32)
	if !found || perr != nil || crc32.ChecksumIEEE(text) != uint32(want) || json.Unmarshal(text, v) != nil {
		return 0, nil
	}
	return int64(len(line)), nil
}

func journalLine(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(text), text), nil
}

// journalWriter appends commits to a log. It stops after an error, because the log must not have
// gaps.
type journalWriter struct {
	f    *os.File
	last uint64
	size int64
	lost bool
}

// newJournalWriter starts a log at a path.
func newJournalWriter(path string, header journal) (*journalWriter, error) {
	line, err := journalLine(header)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(line); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &journalWriter{f: f, last: header.Base, size: int64(len(line))}, nil
}

// continueJournal appends to the valid part of a log and truncates the rest.
func continueJournal(path string, j journal) (*journalWriter, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = f.Seek(j.size, io.SeekStart)
	if err = errors.Join(err, f.Truncate(j.size)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &journalWriter{f: f, last: j.last(), size: j.size}, nil
}

// append writes a commit that is on disk in the store.
func (w *journalWriter) append(c commit) {
	if w == nil || w.lost || c.Serial != w.last+1 {
		return
	}
	line, err := journalLine(c)
	if err == nil {
		_, err = w.f.Write(line)
	}
	if err != nil {
		w.lost = true
		return
	}
	w.last, w.size = c.Serial, w.size+int64(len(line))
}

func (w *journalWriter) close() error {
	if w == nil {
		return nil
	}
	return w.f.Close()
}
