package nfqueue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	bufferSize  = 128 << 10 // holds the largest message
	readSize    = 4 * bufferSize
	maxReceived = 128                    // messages between decisions
	turnTime    = 200 * time.Microsecond // for decisions, before more packets are received
)

// Handler decides about packets, one at a time.
type Handler interface {
	// Class returns whose packet it is. Classes take turns, so that one with many packets does not delay others.
	Class(p Packet) Class
	// Decide decides about a packet. done, which can be nil, is called after the verdict is in force; packets wait
	// for it.
	Decide(p Packet) (v Verdict, done func())
}

// Read receives packets until ctx ends, and closes the queues.
func (q *Queues) Read(ctx context.Context, h Handler) error {
	defer q.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = q.conn.SetReadDeadline(time.Unix(1, 0)) })()
	raw, err := q.conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("read packets: %w", err)
	}

	r := reader{raw: raw, handler: h, buffer: make([]byte, readSize)}
	for {
		err := r.receive()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read packets: %w", err)
		}
		if err := r.decide(); err != nil {
			return err
		}
	}
}

// reader reads and decides.
type reader struct {
	raw      syscall.RawConn
	handler  Handler
	buffer   []byte
	waiting  backlog
	verdicts []byte // that are not sent yet
}

// receive receives the packets that the kernel has, or waits for one if none waits for its decision. Packets of a
// class with too many are dropped.
func (r *reader) receive() error {
	for used, count := 0, 0; count < maxReceived && len(r.buffer)-used >= bufferSize; count++ {
		n, err := receive(r.raw, r.buffer[used:], count == 0 && r.waiting.count == 0)
		switch {
		case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return nil
		}
		for m := range messages(r.buffer[used : used+n]) {
			p, ok := parse(m)
			if ok && !r.waiting.add(r.handler.Class(p), p) {
				r.verdicts = appendVerdict(r.verdicts, p.Queue, Held{ID: p.ID, Code: Drop})
			}
		}
		used += aligned(n)
	}
	return nil
}

// decide decides about packets for a while.
func (r *reader) decide() error {
	for began := time.Now(); time.Since(began) < turnTime; {
		p, ok := r.waiting.next()
		if !ok {
			break
		}
		v, done := r.handler.Decide(p)
		r.verdicts = appendVerdicts(r.verdicts, p, v)
		if err := r.send(); err != nil {
			return err
		}
		if done != nil {
			done()
		}
	}
	r.waiting.keep()
	return r.send()
}

// send sends the verdicts.
func (r *reader) send() error {
	if len(r.verdicts) == 0 {
		return nil
	}
	err := send(r.raw, r.verdicts)
	r.verdicts = r.verdicts[:0]
	return err
}

// receive reads messages into a buffer. The library would copy them and need another system call. Without wait it
// returns 0 if there are none.
func receive(raw syscall.RawConn, buffer []byte, wait bool) (n int, err error) {
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, _, failed = unix.Recvfrom(int(fd), buffer, unix.MSG_DONTWAIT)
		return !wait || !errors.Is(failed, unix.EAGAIN)
	})
	if !wait && errors.Is(failed, unix.EAGAIN) {
		return 0, err
	}
	if err = errors.Join(err, failed); err != nil {
		return 0, err
	}
	return n, nil
}

// send sends messages. The kernel has forgotten packets of an interface that is gone.
func send(raw syscall.RawConn, data []byte) error {
	var failed error
	err := raw.Write(func(fd uintptr) bool {
		_, failed = unix.Write(int(fd), data)
		return !errors.Is(failed, unix.EAGAIN)
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("send a verdict: %w", os.NewSyscallError("write", err))
	}
	return nil
}

// messages returns the messages of a datagram.
func messages(data []byte) iter.Seq[netlink.Message] {
	return func(yield func(netlink.Message) bool) {
		for len(data) >= unix.NLMSG_HDRLEN {
			length := int(binary.NativeEndian.Uint32(data))
			if length < unix.NLMSG_HDRLEN || length > len(data) {
				return
			}
			m := netlink.Message{Data: data[unix.NLMSG_HDRLEN:length],
				Header: netlink.Header{Type: netlink.HeaderType(binary.NativeEndian.Uint16(data[4:])),
					Sequence: binary.NativeEndian.Uint32(data[8:])}}
			if !yield(m) {
				return
			}
			data = data[min(len(data), aligned(length)):]
		}
	}
}

// appendVerdicts appends the verdicts about a packet and about others that were held.
func appendVerdicts(data []byte, p Packet, v Verdict) []byte {
	for _, h := range v.Also {
		data = appendVerdict(data, p.Queue, h)
	}
	if v.Code == Hold {
		return data
	}
	return appendVerdict(data, p.Queue, Held{p.ID, v.Code, v.Mark})
}

// appendVerdict appends a message with a verdict about a packet.
func appendVerdict(data []byte, queue uint16, v Held) []byte {
	const verdict, mark = unix.NLA_HDRLEN + 8, unix.NLA_HDRLEN + 4
	length := unix.NLMSG_HDRLEN + 4 + verdict
	if v.Mark != 0 {
		length += mark
	}
	data = binary.NativeEndian.AppendUint32(data, uint32(length))
	data = binary.NativeEndian.AppendUint16(data, unix.NFNL_SUBSYS_QUEUE<<8|msgVerdict)
	data = binary.NativeEndian.AppendUint16(data, unix.NLM_F_REQUEST)
	data = append(data, make([]byte, 8)...) // sequence and port
	data = append(data, unix.AF_UNSPEC, unix.NFNETLINK_V0)
	data = binary.BigEndian.AppendUint16(data, queue)

	data = binary.NativeEndian.AppendUint16(data, verdict)
	data = binary.NativeEndian.AppendUint16(data, attrVerdict)
	data = binary.BigEndian.AppendUint32(data, uint32(v.Code))
	data = binary.BigEndian.AppendUint32(data, v.ID)
	if v.Mark != 0 {
		data = binary.NativeEndian.AppendUint16(data, mark)
		data = binary.NativeEndian.AppendUint16(data, attrMark)
		data = binary.BigEndian.AppendUint32(data, v.Mark)
	}
	return data
}
