// Package quictest starts QUIC clients for tests of what reads their datagrams.
package quictest

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"golang.org/x/net/quic"
)

// Client starts a client that connects to a server with a name until the test ends. It returns the socket that
// receives its datagrams and never answers. Reads from it fail after a minute.
func Client(t testing.TB, name string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))

	endpoint, err := quic.Listen("udp", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); _ = endpoint.Close(ctx) })
	go func() {
		_, _ = endpoint.Dial(ctx, "udp", conn.LocalAddr().String(), &quic.Config{
			TLSConfig: &tls.Config{ServerName: name, MinVersion: tls.VersionTLS13}})
	}()
	return conn
}
