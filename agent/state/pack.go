package state

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// memberName matches the allowed file names in an archive.
var memberName = regexp.MustCompile(`^([a-z][a-z0-9-]*\.db|MANIFEST\.json)$`)

// maxMember is the maximum size of a file in an archive.
const maxMember = 4 << 30

// Pack writes the files of a directory filled by Save to a compressed tar archive.
func Pack(dir string, out io.Writer) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(out)
	w := tar.NewWriter(zip)
	for _, e := range entries {
		if err := packOne(w, filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), zip.Close())
}

func packOne(w *tar.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: filepath.Base(path), Mode: 0o600, Size: info.Size(), ModTime: info.ModTime(),
		Typeflag: tar.TypeReg}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

// Unpack extracts an archive to an empty directory.
func Unpack(in io.Reader, dir string) error {
	zip, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg || !memberName.MatchString(h.Name) || h.Size > maxMember {
			return fmt.Errorf("unexpected file %q", h.Name)
		}
		if err := unpackOne(r, filepath.Join(dir, h.Name)); err != nil {
			return err
		}
	}
}

func unpackOne(in io.Reader, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.LimitReader(in, maxMember))
	return errors.Join(err, f.Sync(), f.Close())
}
