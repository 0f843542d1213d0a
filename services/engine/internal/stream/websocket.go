package stream

import (
	"bufio"
	"crypto/sha1" // the handshake of RFC 6455 uses it, not for secrecy
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// websocketGUID is the constant of the handshake in RFC 6455.
const websocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// Operations of websocket frames.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// maxMessage bounds a frame of a client.
const maxMessage = 1 << 20

// websocket is a connection with the protocol of RFC 6455. Output is sent in binary messages, without
// Docker's frames.
type websocket struct {
	net.Conn
	in *bufio.Reader

	left    uint64 // of the payload of the current frame
	mask    [4]byte
	maskPos int

	mu   sync.Mutex
	once sync.Once
}

// Websocket takes over the connection of a request for a websocket.
func Websocket(w http.ResponseWriter, r *httpapi.Request, _ bool) (Client, error) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || key == "" {
		return nil, httpapi.Errorf(http.StatusBadRequest, "bad request: a websocket handshake is required")
	}
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Time{})
	sum := sha1.Sum([]byte(key + websocketGUID))
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if protocol, _, _ := strings.Cut(r.Header.Get("Sec-WebSocket-Protocol"), ","); protocol != "" {
		head += "Sec-WebSocket-Protocol: " + strings.TrimSpace(protocol) + "\r\n"
	}
	if _, err := raw.Write([]byte(head + "\r\n")); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return &websocket{Conn: raw, in: bufio.NewReader(rest(raw, buffered))}, nil
}

// Write writes output as one message.
func (s *websocket) Write(_ byte, data []byte) error { return s.frame(opBinary, data) }

// frame writes one frame.
func (s *websocket) frame(op byte, data []byte) error {
	head := []byte{0x80 | op}
	switch n := len(data); {
	case n < 126:
		head = append(head, byte(n))
	case n <= 0xffff:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := s.Conn.Write(append(head, data...))
	return err
}

// Read reads input, across messages.
func (s *websocket) Read(b []byte) (int, error) {
	for s.left == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n, err := s.in.Read(b[:min(uint64(len(b)), s.left)])
	for i := range n {
		b[i] ^= s.mask[s.maskPos&3]
		s.maskPos++
	}
	s.left -= uint64(n)
	return n, err
}

// next reads the head of the next data frame, and responds to control frames.
func (s *websocket) next() error {
	var head [2]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return errors.Join(io.ErrUnexpectedEOF, err)
	}
	size := uint64(head[1] & 0x7f)
	var wide [8]byte
	switch size {
	case 126:
		if _, err := io.ReadFull(s.in, wide[6:]); err != nil {
			return io.ErrUnexpectedEOF
		}
		size = binary.BigEndian.Uint64(wide[:])
	case 127:
		if _, err := io.ReadFull(s.in, wide[:]); err != nil {
			return io.ErrUnexpectedEOF
		}
		size = binary.BigEndian.Uint64(wide[:])
	}
	if size > maxMessage || head[1]&0x80 == 0 { // frames of clients are masked
		return errors.New("invalid websocket frame")
	}
	if _, err := io.ReadFull(s.in, s.mask[:]); err != nil {
		return io.ErrUnexpectedEOF
	}
	s.maskPos = 0

	switch op := head[0] & 0x0f; op {
	case opContinuation, opText, opBinary:
		s.left = size
		return nil
	default:
		return s.control(op, size)
	}
}

// control responds to a control frame.
func (s *websocket) control(op byte, size uint64) error {
	if size > 125 {
		return errors.New("invalid websocket frame")
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(s.in, payload); err != nil {
		return io.ErrUnexpectedEOF
	}
	for i := range payload {
		payload[i] ^= s.mask[i&3]
	}
	switch op {
	case opPing:
		return s.frame(opPong, payload)
	case opClose:
		_ = s.frame(opClose, payload)
		return io.ErrUnexpectedEOF // the client is gone
	}
	return nil
}

// Close closes the connection after a close frame.
func (s *websocket) Close() {
	s.once.Do(func() {
		_ = s.SetWriteDeadline(time.Now().Add(time.Second))
		s.mu.Lock()
		_, _ = s.Conn.Write([]byte{0x80 | opClose, 2, 0x03, 0xe8}) // normal closure
		s.mu.Unlock()
		shut(s.Conn)
	})
}
