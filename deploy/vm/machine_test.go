package main

import (
	"strings"
	"testing"
	"time"
)

func TestTailKeepsLastBytes(t *testing.T) {
	var c tail
	for range 10 {
		if _, err := c.Write([]byte(strings.Repeat("x", tailSize))); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = c.Write([]byte("panic\r\n"))
	if got := c.text(); !strings.HasSuffix(got, "xpanic\n") || len(got) > 3*tailSize {
		t.Errorf("got %d bytes that end with %q", len(got), got[len(got)-10:])
	}
}

func TestTestTimeoutBelowMachineLimit(t *testing.T) {
	for limit, want := range map[time.Duration]string{15 * time.Minute: "14m30s", 20 * time.Second: "10s"} {
		if got := (options{limit: limit}).testFlags()[0]; got != "-test.timeout="+want {
			t.Errorf("limit %s: got %s, want %s", limit, got, want)
		}
	}
}
