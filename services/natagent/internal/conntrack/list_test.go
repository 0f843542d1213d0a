package conntrack_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

func TestReaderListsAndWatches(t *testing.T) {
	t.Parallel()
	client, host, a := worldOf(t)
	host.Run("sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1")
	reader := conntrack.NewReader(hostns.At(host.Fd()))
	server := a.Listen("tcp", "10.2.0.2:80")
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("hello"))
			_ = c.Close()
		}
	}()

	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	events, started, done := make(chan conntrack.Connection, 100), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- reader.Watch(ctx, func() { close(started) }, func() {}, func(c conntrack.Connection, ended bool) error {
			if !ended {
				events <- c
			}
			return nil
		})
	}()
	select {
	case <-started:
	case err := <-done:
		t.Fatal(err)
	}

	send(t, client, "udp4", "10.1.0.1:53")
	send(t, client, "udp6", "[fd01::1]:53")
	c, err := client.Dial("tcp", "10.2.0.2:80", 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}

	all := map[string]conntrack.Connection{}
	if err := reader.List(ctx, func(c conntrack.Connection) error { all[c.To.String()] = c; return nil }); err != nil {
		t.Fatal(err)
	}
	tcp, udp4, udp6 := all["10.2.0.2:80"], all["10.1.0.1:53"], all["[fd01::1]:53"]
	if udp4.Target != at("10.2.0.2:5000") || udp6.Target != at("[fd02::2]:5000") || udp4.Sent.Bytes != 29 {
		t.Errorf("UDP: got %+v and %+v", udp4, udp6)
	}
	if tcp.From.Addr().String() != "10.1.0.2" || tcp.State == "" || !tcp.Replied || !tcp.Counted ||
		tcp.Sent.Packets < 2 || tcp.Received.Bytes < 5 || tcp.Protocol != unix.IPPROTO_TCP {
		t.Errorf("TCP: got %+v", tcp)
	}

	seen := map[string]bool{}
	for len(seen) < 3 {
		select {
		case c := <-events:
			if _, ok := all[c.To.String()]; ok {
				seen[c.To.String()] = true
			}
		case err := <-done:
			t.Fatalf("watch ended, seen %v: %v", seen, err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("watch after its end: %v", err)
	}

	refused := errors.New("enough")
	if err := reader.List(t.Context(), func(conntrack.Connection) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("got %v, want the error of the callback", err)
	}
}
