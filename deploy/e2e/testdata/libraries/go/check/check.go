// Package check has what the programs of this module share: a program ends at the first result that differs from
// what Docker returns, and prints both.
package check

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// limit bounds the wait for a condition.
const limit = time.Minute

// Nil exits if err is set.
func Nil(err error, what string) {
	if err != nil {
		exit("%s: %v", what, err)
	}
}

// Equal exits if got is not want.
func Equal[T comparable](got, want T, what string) {
	if got != want {
		exit("%s: got %#v, want %#v", what, got, want)
	}
}

// True exits unless ok, and prints what was seen.
func True(ok bool, what string, seen any) {
	if !ok {
		exit("%s: got %+v", what, seen)
	}
}

// Failed exits unless err contains text.
func Failed(err error, text, what string) {
	if err == nil || !strings.Contains(err.Error(), text) {
		exit("%s: got error %v, want one with %q", what, err, text)
	}
}

// Read returns all of r as text, and closes it.
func Read(r io.ReadCloser, what string) string {
	data, err := io.ReadAll(r)
	Nil(errors.Join(err, r.Close()), what)
	return string(data)
}

// Page returns the body of a page, for which it waits.
func Page(url string) string {
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		r, err := http.Get(url)
		if err == nil {
			return Read(r.Body, url)
		}

		if time.Now().After(deadline) {
			exit("%s: %v", url, err)
		}
	}
}

// Archive returns a tar archive of one file.
func Archive(name, content string) *bytes.Buffer {
	out := &bytes.Buffer{}
	w := tar.NewWriter(out)
	Nil(w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}), "write archive")
	_, err := io.WriteString(w, content)
	Nil(errors.Join(err, w.Close()), "write archive")
	return out
}

// Unpack returns the content of the first file in an archive.
func Unpack(r io.Reader) string {
	archive := tar.NewReader(r)
	_, err := archive.Next()
	Nil(err, "read archive")
	data, err := io.ReadAll(archive)
	Nil(err, "read archive")
	return string(data)
}

func exit(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}
