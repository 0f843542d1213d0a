package backlog

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestOutputIsCompleteAndOrdered(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := NewPool(1 << 20).Join()
		var want [3]bytes.Buffer
		var order, got strings.Builder
		for i := range rapid.IntRange(0, 50).Draw(rt, "pieces") {
			stream := rapid.IntRange(1, 2).Draw(rt, "stream")
			data := bytes.Repeat([]byte{byte('a' + i%26)}, rapid.IntRange(1, 9000).Draw(rt, "size"))
			want[stream].Write(data)
			order.Write(data)
			if !c.Add(stream, data) {
				rt.Fatal("Add reports that the client is gone")
			}
		}
		c.End(io.EOF)

		var out [3]bytes.Buffer
		for {
			stream, data, err := c.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					rt.Fatal(err)
				}
				break
			}
			out[stream].Write(data)
			got.Write(data)
		}
		if got.String() != order.String() || !bytes.Equal(out[1].Bytes(), want[1].Bytes()) {
			rt.Fatalf("got %d bytes, want %d", got.Len(), order.Len())
		}
		if c.pool.size != 0 {
			rt.Fatalf("got %d bytes left", c.pool.size)
		}
	})
}

func TestSlowestClientIsCutOff(t *testing.T) {
	p := NewPool(1000)
	slow, fast := p.Join(), p.Join()
	data := make([]byte, 100)
	for i := range 50 {
		kept := slow.Add(1, data)
		if i < 9 && !kept {
			t.Fatalf("the slow client is cut off after %d bytes", 100*i)
		}
		if !fast.Add(1, data) {
			t.Fatalf("the fast client is cut off after %d bytes", 100*i)
		}
		if _, _, err := fast.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := slow.Next(); !errors.Is(err, ErrSlow) {
		t.Errorf("got %v, want ErrSlow", err)
	}
	if slow.Add(1, data) {
		t.Error("output is added for a client that was cut off")
	}
	slow.Leave(net.ErrClosed)
	fast.Leave(net.ErrClosed)
	if p.size != 0 || len(p.clients) != 0 {
		t.Errorf("got %d bytes and %d clients left", p.size, len(p.clients))
	}
}

func TestPipeWaitsForItsReader(t *testing.T) {
	c := NewPipe(1000)
	const count = 100
	ended := make(chan bool)
	go func() {
		for range count {
			if !c.Add(1, make([]byte, 100)) {
				t.Error("Add reports that the client is gone")
			}
			c.pool.mu.Lock()
			if c.pool.size > 1000 {
				t.Errorf("got %d bytes, want at most 1000", c.pool.size)
			}
			c.pool.mu.Unlock()
		}
		c.End(io.EOF)
		ended <- c.Add(1, []byte("x"))
	}()
	n := 0
	for {
		_, data, err := c.Next()
		if err != nil {
			break
		}
		n += len(data)
	}
	if <-ended || n != 100*count {
		t.Errorf("got %d bytes, want %d", n, 100*count)
	}
}

func TestLeaveEndsWaitingAdd(t *testing.T) {
	c := NewPipe(10)
	c.Add(1, make([]byte, 10))
	done := make(chan bool)
	go func() { done <- c.Add(1, []byte("x")) }()
	c.Leave(net.ErrClosed)
	if <-done {
		t.Error("output is added for a client that has left")
	}
}

func TestLeaveEndsNext(t *testing.T) {
	c := NewPool(10).Join()
	done := make(chan error)
	go func() {
		_, _, err := c.Next()
		done <- err
	}()
	c.Leave(net.ErrClosed)
	c.Leave(net.ErrClosed)
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}
