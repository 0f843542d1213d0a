package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

const (
	hijacked     = 1000 // connections
	perContainer = 200  // which is the limit
	dockerClient = ".cache/clients/docker"
	engineRounds = 30 // of each kind
	inspected    = "inspected"
)

// engineAPI measures the Engine API: a launch by Docker's own client, if make clients has built it, the
// memory of attached clients, and events.
func (b *bench) engineAPI(ctx context.Context, t *table) error {
	if client, err := filepath.Abs(dockerClient); err == nil && installed(client) {
		docker := &engine{name: "docker client", host: b.lab, program: client, image: "busybox",
			global: []string{"-H", "unix://" + b.agent.ExecRoot() + "/docker.sock"}}
		own, theirs := b.fairlead.runTrue(), docker.runTrue()
		took, err := interleaved(ctx, []baseline{own, theirs})
		if err != nil {
			return err
		}
		t.add(row{what: "docker run --rm, over fairlead run --rm", took: took[theirs.name] - took[own.name],
			wanted: "at most 25 ms"})
	}
	h := &crowdedHost{Agent: b.agent, lab: b.lab}
	return errors.Join(h.attached(ctx, t), h.listen(ctx, t))
}

// attached measures the memory of clients that are attached to containers without output.
func (h *crowdedHost) attached(ctx context.Context, t *table) error {
	var names []string
	for i := range hijacked / perContainer {
		names = append(names, fmt.Sprint("quiet", i))
		if _, err := h.CLI(ctx, "run", "-d", "--name", names[i], "busybox", "sleep", "100000"); err != nil {
			return err
		}
	}
	before, _ := h.lab.Memory("fairlead-agent")
	var errs []error
	for i := range hijacked {
		conn, err := h.hijack("/containers/" + names[i/perContainer] + "/attach?stream=1&stdout=1")
		if err != nil {
			errs = append(errs, err)
			break
		}
		defer func() { _ = conn.Close() }()
	}
	after, _ := h.lab.Memory("fairlead-agent")
	t.add(row{what: "memory of 1,000 hijacked connections", size: max(after-before, 1), wanted: "at most 40 MB"})
	_, err := h.CLI(ctx, append([]string{"rm", "-f"}, names...)...)
	return errors.Join(append(errs, err)...)
}

// hijack opens a connection to the Engine API and sends a request that takes it over.
func (h *crowdedHost) hijack(path string) (net.Conn, error) {
	conn, err := h.dialEngine()
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"+
		"Content-Length: 0\r\n\r\n", path)
	if err == nil {
		response := make([]byte, 1024)
		var n int
		n, err = conn.Read(response)
		if err == nil && !strings.HasPrefix(string(response[:n]), "HTTP/1.1 101 ") {
			err = fmt.Errorf("%s: got %q, want status 101", path, response[:n])
		}
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (h *crowdedHost) dialEngine() (net.Conn, error) {
	return net.Dial("unix", h.lab.Root(h.ExecRoot()+"/docker.sock"))
}

// requests measures requests of the Engine API on a host with many containers.
func (h *crowdedHost) requests(ctx context.Context, t *table) error {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return h.dialEngine() }}}
	defer client.CloseIdleConnections()
	if _, err := h.CLI(ctx, "run", "-d", "--name", inspected, "busybox", "sleep", "100000"); err != nil {
		return err
	}
	for _, r := range []struct{ what, path, wanted string }{
		{"_ping", "/_ping", "0.15 ms"},
		{"inspect", "/containers/" + inspected + "/json", "1 ms"},
		{"containers/json?all=1, 1,300 containers", "/containers/json?all=1", "at most 25 ms"},
		{"the same, filtered by a label", `/containers/json?all=1&filters={"label":["group=7"]}`, "at most 5 ms"},
	} {
		var times []time.Duration
		for i := range engineRounds + 1 {
			start := time.Now()
			if err := call(ctx, client, http.MethodGet, r.path); err != nil {
				return err
			}
			if i > 0 {
				times = append(times, time.Since(start))
			}
		}
		t.add(row{what: "Engine API: " + r.what, took: median(times), wanted: r.wanted})
	}
	return nil
}

// call sends a request without a body and reads the answer.
func call(ctx context.Context, client *http.Client, method, path string) error {
	path = strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22", "[", "%5B", "]", "%5D").Replace(path)
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: got status %s", path, res.Status)
	}
	return errors.Join(err, res.Body.Close())
}
