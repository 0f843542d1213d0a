package resolver

import (
	"context"
	"net"
	"sync"
	"time"
)

// Values of SO_LINGER: the system's default, and a reset on close.
const (
	lingerDefault = -1
	lingerReset   = 0
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

// serveConn serves one connection. Responses can overtake each other, as over UDP.
func (r *Resolver) serveConn(conn net.Conn) {
	linger(conn, lingerReset)
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
				linger(conn, lingerDefault)
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

// linger chooses how a connection is closed. If the process exits, even if killed, the connection
// is reset: the C library then repeats the query, and the next process responds. It would treat an
// orderly close as a failure.
func linger(conn net.Conn, seconds int) {
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetLinger(seconds)
	}
}
