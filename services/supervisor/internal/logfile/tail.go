package logfile

import (
	"bytes"
	"io"
)

// blockSize is the size of one read.
const blockSize = 64 << 10

// tailOffset returns the offset of the last n lines of output. It reads backwards. An incomplete
// last line counts as a line.
func tailOffset(r io.ReaderAt, size int64, n int) (int64, error) {
	if n == 0 {
		return size, nil
	}

	var rest []byte // of the record that starts in the previous block
	lines, first := 0, true
	for end := size; end > 0; {
		start := max(0, end-blockSize)
		block := make([]byte, end-start, int(end-start)+len(rest))
		if _, err := r.ReadAt(block, start); err != nil {
			return 0, err
		}
		block = append(block, rest...)
		for {
			at := bytes.LastIndexByte(bytes.TrimSuffix(block, []byte{'\n'}), '\n') + 1
			if at == 0 && start > 0 {
				break // the record starts in an earlier block
			}
			if len(block) > 0 && (endsLine(block[at:]) || first) {
				if lines++; lines > n {
					return start + int64(len(block)), nil
				}
			}
			first = first && len(block) == 0
			if at == 0 {
				return 0, nil
			}
			block = block[:at]
		}
		rest, end = block, start
	}

	return 0, nil
}
