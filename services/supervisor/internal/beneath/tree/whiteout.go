package tree

import (
	"archive/tar"
	"time"

	"golang.org/x/sys/unix"
)

// Names in layers of images. See https://github.com/opencontainers/image-spec/blob/main/layer.md.
const (
	whiteoutMark = ".wh."
	opaqueMark   = ".wh..wh..opq"
)

// whiteoutOf returns the header of a whiteout. st is the file that marks it in the upper directory.
func whiteoutOf(name string, st *unix.Stat_t) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, ModTime: time.Unix(st.Mtim.Unix()),
		Format: tar.FormatPAX}
}

// isOpaque reports whether a directory of an overlay hides the lower ones.
func isOpaque(fd int) bool {
	value := make([]byte, 1)
	n, err := unix.Fgetxattr(fd, "trusted.overlay.opaque", value)
	return err == nil && n == 1 && value[0] == 'y'
}
