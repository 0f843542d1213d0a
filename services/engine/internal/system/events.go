package system

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/event"
)

// sortTime is the time for which events of the past are collected and sorted, because two services send
// them. It is not used if the client wants no others.
const sortTime = 50 * time.Millisecond

// Events serves GET /events.
func (h *Handlers) Events(w http.ResponseWriter, r *httpapi.Request) error {
	filters, err := r.Filters(event.Keys()...)
	if err != nil {
		return err
	}
	since, err := h.timeOf(r, "since")
	if err != nil {
		return err
	}
	until, err := h.timeOf(r, "until")
	if err != nil {
		return err
	}
	if since != nil && until != nil && until.AsTime().Before(since.AsTime()) {
		return httpapi.Errorf(http.StatusBadRequest, "`since` time (%s) cannot be after `until` time (%s)",
			r.Query("since"),
			r.Query("until"))
	}

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	merged, err := h.watch(ctx, since, until)
	if err != nil {
		return err
	}
	out := newEventWriter(w, r, filters)
	out.start()
	if since != nil {
		for _, e := range merged.past(ctx, h.pastLimit(until)) {
			if out.write(e) != nil {
				return nil // the client is gone
			}
		}
		if out.flush() != nil {
			return nil
		}
	}
	for e, ok := merged.next(); ok; e, ok = merged.next() {
		if out.write(e) != nil || len(merged.events) == 0 && out.flush() != nil {
			return nil
		}
	}
	if merged.lost {
		panic(http.ErrAbortHandler) // events were missed from now on
	}
	out.end()
	return nil
}

// timeOf returns a time of the query, or nil if it is absent.
func (h *Handlers) timeOf(r *httpapi.Request, key string) (*timestamppb.Timestamp, error) {
	text := r.Query(key)
	if text == "" {
		return nil, nil
	}
	t, err := httpapi.ParseTime(text, h.now())
	return timestamppb.New(t), err
}

// eventBatch is the maximum number of events that are written with one flush.
const eventBatch = 64

// mergedEvents are the events of several services.
type mergedEvents struct {
	events chan *eventv1.Event
	ended  chan error // one for each service: nil at the regular end
	open   int
	lost   bool // a service ended before its time
}

// watch subscribes to the events of all services that emit some.
func (h *Handlers) watch(ctx context.Context, since, until *timestamppb.Timestamp) (*mergedEvents, error) {
	containers, err := h.clients.Containers.WatchEvents(ctx,
		&containerv1.WatchEventsRequest{Since: since, Until: until})
	networks, err2 := h.clients.Networks.WatchEvents(ctx, &networkv1.WatchEventsRequest{Since: since, Until: until})
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	m := &mergedEvents{events: make(chan *eventv1.Event, eventBatch), ended: make(chan error), open: 2}
	go m.forward(ctx, func() (*eventv1.Event, error) {
		response, err := containers.Recv()
		return response.GetEvent(), err
	})
	go m.forward(ctx, func() (*eventv1.Event, error) {
		response, err := networks.Recv()
		return response.GetEvent(), err
	})
	return m, nil
}

// forward forwards the events of one service until its stream ends.
func (m *mergedEvents) forward(ctx context.Context, receive func() (*eventv1.Event, error)) {
	var end error
	for {
		e, err := receive()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			end = err
			break
		}
		select {
		case m.events <- e:
		case <-ctx.Done():
			return
		}
	}
	select {
	case m.ended <- end:
	case <-ctx.Done():
	}
}

// pastLimit returns when events of the past have arrived. It is nil if the services end their streams then.
func (h *Handlers) pastLimit(until *timestamppb.Timestamp) <-chan time.Time {
	if until != nil && !until.AsTime().After(h.now()) {
		return nil
	}
	return time.After(sortTime)
}

// past returns the events that arrive until the limit, or until all services have ended, sorted by time.
func (m *mergedEvents) past(ctx context.Context, limit <-chan time.Time) (all []*eventv1.Event) {
	for m.open > 0 && !m.lost {
		select {
		case e := <-m.events:
			all = append(all, e)
			continue
		case err := <-m.ended:
			m.end(err)
			continue
		case <-ctx.Done():
		case <-limit:
		}
		break
	}
	if m.open == 0 || m.lost {
		for range len(m.events) { // an end can be received before the events before it
			all = append(all, <-m.events)
		}
	}
	slices.SortStableFunc(all, func(a, b *eventv1.Event) int {
		return a.GetTime().AsTime().Compare(b.GetTime().AsTime())
	})
	return all
}

// next returns the next event. ok is false when a service was lost, or all have reached their end, and all
// events before were returned.
func (m *mergedEvents) next() (e *eventv1.Event, ok bool) {
	for m.open > 0 && !m.lost {
		select {
		case e := <-m.events:
			return e, true
		case err := <-m.ended:
			m.end(err)
		}
	}
	select {
	case e := <-m.events:
		return e, true
	default:
		return nil, false
	}
}

// end records the end of one service's events.
func (m *mergedEvents) end(err error) {
	m.open--
	m.lost = m.lost || err != nil
}

// eventWriter writes events.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	r       *httpapi.Request
	filters httpapi.Filters
	kind    string
	mark    string // before each event
	pending int    // events written since the last flush
}

// newEventWriter returns a writer in the encoding that the client accepts. Before version 1.52 there was
// one.
func newEventWriter(w http.ResponseWriter, r *httpapi.Request, filters httpapi.Filters) *eventWriter {
	out := &eventWriter{w: w, control: http.NewResponseController(w), r: r, filters: filters, kind: "application/json"}
	if r.Version.Before(52) {
		return out
	}
	accepted := r.Header.Get("Accept")
	switch {
	case strings.Contains(accepted, "application/json-seq"):
		out.kind, out.mark = "application/json-seq", "\x1e"
	case strings.Contains(accepted, "application/jsonl") && r.Version.AtLeast(53):
		out.kind = "application/jsonl"
	case strings.Contains(accepted, "application/x-ndjson"):
		out.kind = "application/x-ndjson"
	}
	return out
}

// start sends the headers.
func (o *eventWriter) start() {
	o.w.Header().Set("Content-Type", o.kind)
	o.w.WriteHeader(http.StatusOK)
	_ = o.control.Flush()
}

// eventTimeout bounds a write to a client that does not read.
const eventTimeout = time.Minute

// write writes an event that matches the filters. It flushes when a batch is complete.
func (o *eventWriter) write(e *eventv1.Event) error {
	if !event.Matches(o.filters, e) {
		return nil
	}
	if o.pending == 0 {
		_ = o.control.SetWriteDeadline(time.Now().Add(eventTimeout))
	}
	o.pending++
	if _, err := io.WriteString(o.w, o.mark); err != nil {
		return err
	}
	if err := json.NewEncoder(o.w).Encode(event.FromProto(e, o.r.Version)); err != nil {
		return err
	}
	if o.pending < eventBatch {
		return nil
	}
	return o.flush()
}

// flush sends what was written.
func (o *eventWriter) flush() error {
	if o.pending == 0 {
		return nil
	}
	o.pending = 0
	return o.control.Flush()
}

// end prepares for the end of the response, which can come long after the last event.
func (o *eventWriter) end() { _ = o.control.SetWriteDeadline(time.Time{}) }
