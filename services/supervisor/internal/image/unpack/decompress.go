package unpack

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/fairlead/fairlead/proto/fault"
)

// maxWindow limits the memory of a zstd stream to what `zstd --long` needs.
const maxWindow = 128 << 20

// Decompress returns the uncompressed stream. It detects gzip, zstd, bzip2 or no compression by the
// first bytes.
func Decompress(in io.Reader) (io.ReadCloser, error) {
	buf := bufio.NewReaderSize(in, 64<<10)
	head, err := buf.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}

	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzip.NewReader(buf)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(buf, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case bytes.HasPrefix(head, []byte("BZh")):
		return io.NopCloser(bzip2.NewReader(buf)), nil
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return nil, fault.New(fault.Invalid, "archive", "is compressed with xz, which is not supported",
			fault.WithHint("decompress it first: xz -dc FILE | …"))
	}

	return io.NopCloser(buf), nil
}
