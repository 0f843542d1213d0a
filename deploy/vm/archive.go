package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
)

// File types of an archive, with permissions.
const (
	archiveDir  = 0o040755
	archiveFile = 0o100755
)

// writeArchive writes a cpio archive (newc), the format of the kernel's first file system. See the
// kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
func writeArchive(w io.Writer, dirs []string, files map[string][]byte) error {
	var b bytes.Buffer
	inode := 0
	add := func(name string, mode int, data []byte) {
		inode++
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
		pad(&b)
		b.Write(data)
		pad(&b)
	}
	for _, name := range dirs {
		add(name, archiveDir, nil)
	}

	for _, name := range slices.Sorted(maps.Keys(files)) {
		add(name, archiveFile, files[name])
	}

	add("TRAILER!!!", 0, nil)
	_, err := w.Write(b.Bytes())
	return err
}

// pad writes zeros up to the next multiple of four.
func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}
