package natagent_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/natagent"
)

// insist sends over one UDP socket, and so one conntrack entry, until there is a response.
func insist(c net.Conn) (answer string, took time.Duration, err error) {
	start, b := time.Now(), make([]byte, 16)
	for time.Since(start) < timeout {
		_, _ = c.Write([]byte("?"))
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, err := c.Read(b); err == nil {
			return string(b[:n]), time.Since(start), nil
		}
	}
	return "", time.Since(start), errors.New("no answer")
}

func TestConnectionsStartedDuringFlushRecover(t *testing.T) {
	s := newSite(t)
	r := startWith(t, s.host, t.TempDir(), natagent.BackendIPTables, io.Discard)
	s.guard(t, r)
	mustPublish(t, r, request("a", "10.10.1.2", "", "8080:80", "53:5000/udp", "6000-6010:6000-6010"))
	go echoUDP(s.ext.ListenPacket("udp4", "0.0.0.0:7000"), "ext")
	for range 5 {
		s.host.Run("sh", "-c", "iptables-nft -t nat -F; iptables-legacy -t nat -F 2>/dev/null; true")
		in, err := s.ext.Dial("udp", "10.1.0.1:53", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.a.Dial("udp", "10.1.0.2:7000", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		answers := make(chan error, 3)
		for c, want := range map[net.Conn]string{in: "a", out: "ext"} {
			go func() {
				got, took, err := insist(c)
				if err == nil && got != want {
					err = errors.New(got + " answered, not " + want)
				}
				t.Logf("%s responded after %s", want, took.Round(time.Millisecond))
				answers <- errors.Join(err, c.Close())
			}()
		}
		go func() {
			_, err := ask(s.ext, "10.1.0.1:8080", timeout/4) // a lost SYN is sent again after a second
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = errors.New("the connection got no answer")
			}
			answers <- err
		}()
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
	}
}
