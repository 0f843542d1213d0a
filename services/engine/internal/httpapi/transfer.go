package httpapi

import (
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"
)

// idleTimeout bounds the wait for a client that neither sends nor reads during a transfer.
const idleTimeout = 5 * time.Minute

// transferSize is the size of a part of an upload.
const transferSize = 64 << 10

// Download writes a body of unknown length. next returns its parts, then io.EOF. An error before the
// first part is the error response; a later one breaks the connection, so that the client does not take
// the part for the whole.
func Download(w http.ResponseWriter, contentType string, next func() ([]byte, error)) error {
	data, err := next()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	for err == nil {
		_ = control.SetWriteDeadline(time.Now().Add(idleTimeout))
		if _, werr := w.Write(data); werr != nil {
			panic(http.ErrAbortHandler) // the client is gone
		}
		data, err = next()
	}
	_ = control.SetWriteDeadline(time.Time{})
	if !errors.Is(err, io.EOF) {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// Upload passes the body on in parts. It stops without an error if send returns io.EOF: the receiver has
// ended the call, and returns why.
func Upload(w http.ResponseWriter, r *Request, send func([]byte) error) error {
	control := http.NewResponseController(unwrap(w))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	buffer := make([]byte, transferSize)
	for {
		_ = control.SetReadDeadline(time.Now().Add(idleTimeout))
		n, err := r.Request.Body.Read(buffer)
		if n > 0 {
			if serr := send(buffer[:n]); errors.Is(serr, io.EOF) {
				return nil
			} else if serr != nil {
				return serr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return Errorf(http.StatusBadRequest, "request body: cannot be read: %v", err)
		}
	}
}

// TerminalSize returns the parameters h and w: rows and columns.
func (r *Request) TerminalSize() (size [2]uint32, err error) {
	for i, key := range []string{"h", "w"} {
		n, perr := strconv.ParseUint(r.Query(key), 10, 32)
		if perr != nil || n > math.MaxUint16 {
			return size, Errorf(http.StatusBadRequest, "parameter %s: %.100q is not a size of a terminal", key,
				r.Query(key))
		}
		size[i] = uint32(n)
	}
	return size, nil
}
