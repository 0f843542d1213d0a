package containers

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/stream"
)

// Logs serves GET /containers/{name}/logs.
func (h *Handlers) Logs(w http.ResponseWriter, r *httpapi.Request) error {
	stdout, stderr := r.Bool("stdout"), r.Bool("stderr")
	if !stdout && !stderr {
		return httpapi.Errorf(http.StatusBadRequest, "Bad parameters: you must choose at least one stream")
	}
	request, err := h.logsRequest(r)
	if err != nil {
		return err
	}
	c, err := h.get(r.Context(), r.Name())
	if err != nil {
		return err
	}
	request.Reference = c.GetId()
	logs, err := h.clients.Containers.ReadLogs(r.Context(), request)
	if err != nil {
		return err
	}
	tty := c.GetConfig().GetTty()
	out := logWriter{to: stream.NewResponse(w, stream.ContentType(tty, r), !tty), stdout: stdout, stderr: stderr,
		timestamps: r.Bool("timestamps"), details: r.Bool("details")}
	return out.copy(logs.Recv)
}

// logsRequest returns the selection of a request.
func (h *Handlers) logsRequest(r *httpapi.Request) (*containerv1.ReadLogsRequest, error) {
	out := &containerv1.ReadLogsRequest{Follow: r.Bool("follow"), Details: r.Bool("details"),
		Stream: streamOf(r.Bool("stdout"), r.Bool("stderr"))}
	out.Joined = !out.GetDetails() && !r.Bool("timestamps")
	if tail := r.Query("tail"); tail != "" && tail != "all" {
		if n, err := strconv.ParseUint(tail, 10, 32); err == nil { // Docker shows all lines for other texts
			lines := uint32(n)
			out.Tail = &lines
		}
	}
	for key, to := range map[string]**timestamppb.Timestamp{"since": &out.Since, "until": &out.Until} {
		if text := r.Query(key); text != "" && text != "0" {
			t, err := httpapi.ParseTime(text, h.now())
			if err != nil {
				return nil, err
			}
			*to = timestamppb.New(t)
		}
	}
	return out, nil
}

// streamOf returns the only stream that is wanted.
func streamOf(stdout, stderr bool) containerv1.StreamKind {
	switch {
	case stdout && !stderr:
		return containerv1.StreamKind_STREAM_KIND_STDOUT
	case stderr && !stdout:
		return containerv1.StreamKind_STREAM_KIND_STDERR
	}
	return containerv1.StreamKind_STREAM_KIND_UNSPECIFIED
}

// logWriter writes entries of a log.
type logWriter struct {
	to                  *stream.Response
	stdout, stderr      bool
	timestamps, details bool
	partial             [3]bool // by stream: the last entry had no end of line
}

// copy writes entries until the end of the log. The headers are sent with the first entry, or
// after a moment without any. If the log breaks off after that, the connection is closed.
func (l *logWriter) copy(next func() (*containerv1.ReadLogsResponse, error)) error {
	first := make(chan result, 1)
	go func() {
		entry, err := next()
		first <- result{entry, err}
	}()
	var r result
	select {
	case r = <-first: // an error is the response
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return r.err
		}
		l.to.Start()
	case <-time.After(headerDelay): // a container without output
		l.to.Start()
		r = <-first
	}
	for r.err == nil {
		if l.write(r.entry) != nil {
			return nil // the client is gone
		}
		r.entry, r.err = next()
	}
	if !errors.Is(r.err, io.EOF) {
		panic(http.ErrAbortHandler) // the client must not take the log for a whole one
	}
	return nil
}

// result is an entry, or the end of the log.
type result struct {
	entry *containerv1.ReadLogsResponse
	err   error
}

// stampFormat is Docker's format of times in logs: RFC 3339 with nine decimals.
const stampFormat = "2006-01-02T15:04:05.000000000Z07:00"

// headerDelay is the time after which the headers are sent before there is any output.
const headerDelay = 100 * time.Millisecond

func (l *logWriter) write(entry *containerv1.ReadLogsResponse) error {
	kind, wanted := stream.Stdout, l.stdout
	if entry.GetOutput().GetStream() == containerv1.StreamKind_STREAM_KIND_STDERR {
		kind, wanted = stream.Stderr, l.stderr
	}
	if !wanted {
		return nil
	}
	data := entry.GetOutput().GetData()
	if (l.timestamps || l.details) && !l.partial[kind] {
		var prefix []byte
		if l.timestamps {
			prefix = append(entry.GetTime().AsTime().AppendFormat(prefix, stampFormat), ' ')
		}
		if l.details {
			prefix = append(append(prefix, entry.GetDetails()...), ' ')
		}
		data = append(prefix, data...)
	}
	l.partial[kind] = len(data) > 0 && data[len(data)-1] != '\n'
	return l.to.Write(kind, data)
}
