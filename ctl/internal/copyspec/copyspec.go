// Package copyspec has the rules of docker cp: which argument is in a container, and where a source is
// copied to. It performs no I/O. The command cp calls it.
package copyspec

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Errors of Plan.
var (
	// ErrNoDirectory is returned for a file whose destination ends with a slash and does not exist.
	ErrNoDirectory = errors.New("no such directory")
	// ErrOntoFile is returned for a directory whose destination is a file.
	ErrOntoFile = errors.New("cannot copy directory")
)

// ParseArg divides an argument into container and path. container is empty for a path of this host:
// an absolute one, one without a colon, or one that starts with a dot.
func ParseArg(arg string) (container, name string) {
	if path.IsAbs(arg) {
		return "", arg
	}
	container, name, ok := strings.Cut(arg, ":")
	if !ok || strings.HasPrefix(container, ".") {
		return "", arg
	}
	return container, name
}

// Path is a source or destination. A slash or /. at its end has a meaning.
type Path struct {
	Name   string
	Exists bool
	IsDir  bool
}

// Split divides a path into its directory and its last component. Of "dir/." the last component is a
// dot, which means the content of dir.
func Split(name string) (dir, base string) {
	clean := path.Clean(name)
	if path.Base(name) == "." && name != "" {
		return clean, "."
	}
	dir, base = path.Split(clean)
	if base == "" {
		base = "." // the root
	}
	return dir, base
}

// NeedsDirectory reports whether a path can only be that of a directory.
func NeedsDirectory(name string) bool {
	return strings.HasSuffix(name, "/") || path.Base(name) == "."
}

// Plan returns the directory to unpack the archive of src in, and the new name of its top entry.
func Plan(src, dst Path) (dir, name string, err error) {
	if dst.Exists && dst.IsDir {
		_, base := Split(src.Name)
		return dst.Name, base, nil
	}

	dir, name = Split(dst.Name)
	switch {
	case dst.Exists && src.IsDir:
		return "", "", fmt.Errorf("destination %s is a file: %w", dst.Name, ErrOntoFile)
	case !dst.Exists && !src.IsDir && NeedsDirectory(dst.Name):
		return "", "", fmt.Errorf("destination %s: %w", dst.Name, ErrNoDirectory)
	}
	return dir, name, nil
}

// Rename returns the name of an archive's entry after its top entry was renamed.
func Rename(entry, from, to string) string {
	entry = path.Clean(entry)
	if from == "." {
		return path.Join(to, entry)
	}
	if rest, ok := strings.CutPrefix(entry, from); ok && (rest == "" || rest[0] == '/') {
		return path.Join(to, rest)
	}
	return entry
}
