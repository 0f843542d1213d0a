package resolver

import (
	"context"
	"net"
	"sync"
	"time"
)

// The system's choice of what Close does, and a reset.
const (
	lingerAsUsual = -1
	lingerNot     = 0
)

func (r *Resolver) serveTCP(l net.Listener) {
	defer l.Close()
	defer context.AfterFunc(r.ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if r.ended(err) {
			return
		}
		if err != nil {
			continue
		}
		if !r.connections.take() {
			_ = conn.Close()
			continue
		}
		r.all.Go(func() {
			defer r.connections.release()
			defer conn.Close()
			r.serveConn(conn)
		})
	}
}

// serveConn answers on one connection. Answers may overtake each other, as they may by UDP.
func (r *Resolver) serveConn(conn net.Conn) {
	linger(conn, lingerNot)
	defer context.AfterFunc(r.answerCtx, func() {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		_ = conn.SetWriteDeadline(time.Now().Add(lastWrite))
	})()
	var write sync.Mutex
	for {
		_ = conn.SetReadDeadline(time.Now().Add(idleTime))
		if r.answerCtx.Err() != nil {
			return
		}
		message, err := readMessage(conn, maxQuestion)
		if err != nil {
			if r.answerCtx.Err() == nil {
				linger(conn, lingerAsUsual)
			}
			return
		}
		r.handle(message, true, &r.all, func() {}, func(answer []byte) {
			write.Lock()
			defer write.Unlock()
			r.write(conn, answer)
		})
	}
}

func (r *Resolver) write(conn net.Conn, answer []byte) {
	_ = conn.SetWriteDeadline(time.Now().Add(idleTime))
	if r.answerCtx.Err() != nil {
		_ = conn.SetWriteDeadline(time.Now().Add(lastWrite))
	}
	_ = writeMessage(conn, answer)
}

// linger chooses how a connection ends. One that this process ends with, even if it is killed, is reset: an asker without an answer
// then asks once more, as the C library does, and is answered by the next process. An orderly end it would take for a failure.
func linger(conn net.Conn, seconds int) {
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetLinger(seconds)
	}
}
