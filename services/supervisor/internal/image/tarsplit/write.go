package tarsplit

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
)

// Write writes an archive from its record. open opens an unpacked file by its name in the archive.
// The caller must verify the digest of the archive: a checksum protects each file only against
// accidental changes.
func Write(w io.Writer, record io.Reader, open func(name string) (io.ReadCloser, error)) error {
	zip, err := gzip.NewReader(record)
	if err != nil {
		return fmt.Errorf("record of the archive: %w", err)
	}
	defer zip.Close()
	return asm.WriteOutputTarStream(opener(open), entries{json.NewDecoder(zip)}, w)
}

// opener is a storage.FileGetter.
type opener func(name string) (io.ReadCloser, error)

// Get opens a file.
func (o opener) Get(name string) (io.ReadCloser, error) { return o(name) }

// entries is a storage.Unpacker that accepts a path more than once.
type entries struct{ dec *json.Decoder }

// Next returns the next entry.
func (e entries) Next() (*storage.Entry, error) {
	var out storage.Entry
	if err := e.dec.Decode(&out); err != nil {
		return nil, err
	}
	return &out, nil
}
