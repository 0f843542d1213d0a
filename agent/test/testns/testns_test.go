package testns_test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
)

func TestConnectReachesOnlyConnectedNamespace(t *testing.T) {
	a, b := testns.New(t), testns.New(t)
	testns.Connect(t, a, "ea", "10.1.0.1/24 fd01::1/64", b, "eb", "10.1.0.2/24 fd01::2/64")
	l := b.Listen("tcp", "10.1.0.2:80")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	c, err := a.Dial("tcp", "10.1.0.2:80", time.Minute)
	if err != nil {
		t.Fatal(err)
	}

	_ = c.Close()
	if c, err := testns.New(t).Dial("tcp", "10.1.0.2:80", time.Second); err == nil {
		_ = c.Close()
		t.Error("got a connection from a third namespace, want an error")
	}
}
