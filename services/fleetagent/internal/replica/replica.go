// Package replica keeps a copy of the fleet's records on disk, so that a host knows its fleet when
// its agent starts while the store is away.
//
// The file is replaced as a whole. Each record has a checksum: one that is damaged is left out, and
// the rest is loaded. The copy decides nothing: the store replaces it as soon as it can be reached.
// It is used by fleetagent.
package replica

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
)

// magic starts the file. Its number is the version of the format.
const magic = "fairlead replica 1\n"

// maxRecord limits what a damaged length can ask for.
const maxRecord = 16 << 20

// Save replaces the file.
func Save(path string, all []etcd.Value, at etcd.Position) error {
	temporary := path + ".new"
	err := write(temporary, all, at)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary) // it may not exist
		return fault.New(fault.Unavailable, "file "+path, "cannot be written", fault.WithCause(err))
	}
	return nil
}

func write(path string, all []etcd.Value, at etcd.Position) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 1<<16)
	_, _ = out.WriteString(magic) // Flush returns the error
	head := binary.AppendUvarint(binary.AppendUvarint(nil, at.Cluster), uint64(at.Revision))
	_, _ = out.Write(frame(head))
	for _, v := range all {
		_, _ = out.Write(frame(encode(v)))
	}
	return errors.Join(out.Flush(), f.Sync(), f.Close())
}

func encode(v etcd.Value) []byte {
	b := binary.AppendUvarint(nil, uint64(v.Revision))
	b = binary.AppendUvarint(b, uint64(len(v.Key)))
	return append(append(b, v.Key...), v.Data...)
}

func frame(body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body))) //nolint:gosec // far below 4 GiB
	b = binary.BigEndian.AppendUint32(b, checksum(body))
	return append(b, body...)
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// Load reads the file. lost is the number of damaged records that were left out; a file that ends
// early counts as one. Without a file, there are no records.
func Load(path string) (all []etcd.Value, at etcd.Position, lost int, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, at, 0, nil
	}
	if err != nil {
		return nil, at, 0, fault.New(fault.Unavailable, "file "+path, "cannot be read", fault.WithCause(err))
	}
	all, at, lost = parse(data)
	return all, at, lost, nil
}

// parse reads the content of a file.
func parse(data []byte) (all []etcd.Value, at etcd.Position, lost int) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		return nil, at, 1
	}
	head, rest, state := next(rest)
	if state == intact {
		cluster, n := binary.Uvarint(head)
		revision, m := binary.Uvarint(head[max(n, 0):])
		if n > 0 && m > 0 {
			at = etcd.Position{Cluster: cluster, Revision: int64(revision)} //nolint:gosec // was written as int64
		}
	} else {
		lost++
	}
	for state != cut && len(rest) > 0 {
		var body []byte
		body, rest, state = next(rest)
		v, ok := decode(body)
		if state != intact || !ok {
			lost++
			continue
		}
		all = append(all, v)
	}
	return all, at, lost
}

// frameState is the state of a frame.
type frameState int

const (
	intact frameState = iota
	damaged
	cut // nothing behind it can be read
)

// next returns the first frame.
func next(data []byte) (body, rest []byte, state frameState) {
	if len(data) < 8 {
		return nil, nil, cut
	}
	size, sum := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
	data = data[8:]
	if size > maxRecord || int(size) > len(data) {
		return nil, nil, cut
	}
	body, rest = data[:size:size], data[size:]
	if checksum(body) != sum {
		return nil, rest, damaged
	}
	return body, rest, intact
}

func decode(body []byte) (etcd.Value, bool) {
	revision, n := binary.Uvarint(body)
	if n <= 0 {
		return etcd.Value{}, false
	}
	body = body[n:]
	size, n := binary.Uvarint(body)
	if n <= 0 || size == 0 || size > uint64(len(body)-n) {
		return etcd.Value{}, false
	}
	body = body[n:]
	return etcd.Value{Key: string(body[:size]), Data: body[size:],
		Revision: int64(revision)}, true //nolint:gosec // was written as int64
}
