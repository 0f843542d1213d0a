package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	listeners      = 50
	listenerEvents = 1000
	eventClients   = 4
	evented        = "evented"
)

// listen measures events of the Engine API until each of many clients has received all of them.
func (h *crowdedHost) listen(ctx context.Context, t *table) (err error) {
	if _, err := h.CLI(ctx, "run", "-d", "-t", "--name", evented, "busybox", "sleep", "100000"); err != nil {
		return err
	}
	defer func() {
		_, rerr := h.CLI(ctx, "rm", "-f", evented)
		err = errors.Join(err, rerr)
	}()

	done := make(chan error, listeners)
	for range listeners {
		conn, err := h.dialEngine()
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		in, err := subscribe(conn)
		if err != nil {
			return err
		}
		go func() { done <- awaitEvents(in) }()
	}

	start := time.Now()
	if err := h.emit(ctx); err != nil {
		return err
	}
	var errs []error
	for range listeners {
		errs = append(errs, <-done)
	}
	each := time.Since(start) / (listenerEvents * listeners)
	t.add(row{what: fmt.Sprintf("an event to one of %d listeners", listeners), took: each, wanted: "at most 100 µs"})
	return errors.Join(errs...)
}

// subscribe requests events and reads the headers of the response.
func subscribe(conn net.Conn) (*bufio.Reader, error) {
	if _, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: docker\r\n\r\n"); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil || strings.TrimSpace(line) == "" {
			return in, err
		}
	}
}

// awaitEvents reads until all events have arrived.
func awaitEvents(in *bufio.Reader) error {
	for got := 0; got < listenerEvents; {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.Contains(line, `"Action":"resize"`) {
			got++
		}
	}
	return nil
}

// emit causes the events. Several clients request them, because each request waits for its response.
func (h *crowdedHost) emit(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: eventClients,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return h.dialEngine() }}}
	defer client.CloseIdleConnections()
	_, err := concurrently(eventClients, func(int) error {
		for range listenerEvents / eventClients {
			if err := call(ctx, client, http.MethodPost, "/containers/"+evented+"/resize?h=24&w=80"); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}
