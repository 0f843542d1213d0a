// Package tlshello reads the server name of a TLS client from the bytes that it sends first. Package
// servername uses it. It performs no I/O and decrypts nothing: with an encrypted ClientHello the name is
// the outer one.
package tlshello

import (
	"encoding/binary"
	"errors"
)

// Types of RFC 8446.
const (
	recordChangeCipher = 20
	recordAlert        = 21
	recordHandshake    = 22
	recordApplication  = 23
	clientHello        = 1
	serverHello        = 2
)

// Limits.
const (
	recordHeader  = 5
	messageHeader = 4
	maxRecord     = 1<<14 + 256
	// MaxHello is the longest ClientHello that is read.
	MaxHello = 64 << 10
)

// Errors of Feed.
var (
	ErrNotTLS = errors.New("is not TLS")
	ErrHello  = errors.New("has a ClientHello that is not valid")
)

// Reader reads the records of a client. After the ClientHello it skips all but further ones: a server can
// ask for a second ClientHello, and the client can send it before it is asked.
type Reader struct {
	header  []byte // of the present record, as far as it is read
	left    int    // bytes of the present record that are not read
	skip    bool   // the present record has no handshake message
	message []byte
	want    int // length of message; 0 before its header is complete

	names []string // that were not taken yet
	count int
}

// Take returns the server names of the complete ClientHellos that were read since the last call. A name is
// empty if the client sent none.
func (r *Reader) Take() []string {
	names := r.names
	r.names = nil
	return names
}

// Hellos returns the number of complete ClientHellos, or 0 within one.
func (r *Reader) Hellos() int {
	if len(r.message) > 0 || r.left > 0 && !r.skip {
		return 0
	}
	return r.count
}

// Skippable returns the number of following bytes that have no meaning for the Reader.
func (r *Reader) Skippable() int {
	if r.skip {
		return r.left
	}
	return 0
}

// Skip skips bytes, at most Skippable.
func (r *Reader) Skip(n int) {
	r.left -= n
	r.endRecord()
}

// Feed reads bytes up to those that can be skipped, and returns their number.
func (r *Reader) Feed(b []byte) (n int, err error) {
	for n < len(b) && r.Skippable() == 0 {
		if len(r.header) < recordHeader {
			r.header = append(r.header, b[n])
			n++
			if err := r.checkHeader(); err != nil {
				return n, err
			}
			continue
		}
		some := min(r.left, len(b)-n)
		r.message = append(r.message, b[n:n+some]...)
		n, r.left = n+some, r.left-some
		if err := r.checkMessage(); err != nil {
			return n, err
		}
		r.endRecord()
	}
	return n, nil
}

// checkHeader checks the bytes of a record's header as far as they are read, so that no byte of another
// protocol passes.
func (r *Reader) checkHeader() error {
	h := r.header
	switch kind := h[0]; {
	case kind == recordHandshake:
	case r.count == 0 || len(r.message) > 0:
		return ErrNotTLS
	case kind != recordChangeCipher && kind != recordAlert && kind != recordApplication:
		return ErrNotTLS
	}
	if len(h) > 1 && h[1] != 3 || len(h) > 2 && h[2] > 4 {
		return ErrNotTLS
	}
	if len(h) < recordHeader {
		return nil
	}

	r.left, r.skip = int(binary.BigEndian.Uint16(h[3:])), h[0] != recordHandshake
	if r.left > maxRecord || r.left == 0 && !r.skip {
		return ErrNotTLS
	}
	r.endRecord()
	return nil
}

// endRecord expects a header after the last byte of a record.
func (r *Reader) endRecord() {
	if len(r.header) == recordHeader && r.left == 0 {
		r.header, r.skip = r.header[:0], false
	}
}

// checkMessage checks a handshake message as far as it is read.
func (r *Reader) checkMessage() error {
	if r.message[0] != clientHello {
		return ErrHello
	}
	if len(r.message) < messageHeader {
		return nil
	}
	r.want = messageHeader + int(binary.BigEndian.Uint32(r.message)&0xffffff)
	if r.want > MaxHello || len(r.message) > r.want || len(r.message) == r.want && r.left > 0 {
		return ErrHello
	}
	if len(r.message) < r.want {
		return nil
	}

	name, err := parse(r.message[messageHeader:])
	if err != nil {
		return err
	}
	r.names, r.count, r.message = append(r.names, name), r.count+1, nil
	return nil
}

// Messages returns the server names of ClientHellos without records, as QUIC sends them. A name is empty if the
// client sent none. complete is true if the last message is.
func Messages(data []byte) (names []string, complete bool, err error) {
	for len(data) > 0 {
		if data[0] != clientHello {
			return nil, false, ErrHello
		}
		if len(data) < messageHeader {
			return names, false, nil
		}
		end := messageHeader + int(binary.BigEndian.Uint32(data)&0xffffff)
		if end > MaxHello {
			return nil, false, ErrHello
		}
		if len(data) < end {
			return names, false, nil
		}
		name, err := parse(data[messageHeader:end])
		if err != nil {
			return nil, false, err
		}
		names, data = append(names, name), data[end:]
	}
	return names, len(names) > 0, nil
}

// retryRandom returns the random value of a HelloRetryRequest, RFC 8446 section 4.1.3.
func retryRandom() string {
	return "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91" +
		"\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"
}

// AsksAgain reports whether the first bytes of a server ask for a second ClientHello; ok is false if they
// are too few to see.
func AsksAgain(reply []byte) (again, ok bool) {
	const version, random = 2, 32
	if len(reply) == 0 || reply[0] != recordHandshake {
		return false, len(reply) > 0
	}
	if len(reply) < recordHeader+messageHeader+version+random {
		return false, false
	}
	body := reply[recordHeader:]
	return body[0] == serverHello && string(body[messageHeader+version:][:random]) == retryRandom(), true
}
