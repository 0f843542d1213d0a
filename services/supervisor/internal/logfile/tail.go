package logfile

import (
	"bytes"
	"io"
)

// blockSize is how much is read at once, backwards.
const blockSize = 64 << 10

// tailOffset finds where the last n lines of output begin. A line that has no end yet counts as one.
func tailOffset(r io.ReaderAt, size int64, n int) (int64, error) {
	if n == 0 {
		return size, nil
	}
	var rest []byte // of the record that the block before begins with
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
				break // the record begins in an earlier block
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
