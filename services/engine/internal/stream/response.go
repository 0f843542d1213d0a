package stream

import (
	"net/http"
	"time"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Response writes output as the body of a response. Each write is flushed.
type Response struct {
	w           http.ResponseWriter
	control     *http.ResponseController
	contentType string
	framed      bool
	buffer      []byte
}

// NewResponse returns a response that has not started.
func NewResponse(w http.ResponseWriter, contentType string, framed bool) *Response {
	return &Response{w: w, contentType: contentType, framed: framed}
}

// Start sends the headers.
func (r *Response) Start() {
	r.w.Header().Set("Content-Type", r.contentType)
	r.w.WriteHeader(http.StatusOK)
	r.control = http.NewResponseController(r.w)
	_ = r.control.Flush()
}

// Write writes output.
func (r *Response) Write(stream byte, data []byte) error {
	if r.framed {
		r.buffer = AppendFrame(r.buffer[:0], stream, data)
		data = r.buffer
	}
	_ = r.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := r.w.Write(data); err != nil {
		return err
	}
	return r.control.Flush()
}

// event is a message of an attached call.
type event interface {
	GetOutput() *containerv1.Output
	GetExited() *containerv1.Exited
}

// NextOutput returns the next output of an attached call. The error is io.EOF after the exit.
func NextOutput[E event](receive func() (E, error)) (*containerv1.Output, error) {
	for {
		e, err := receive()
		if err != nil {
			return nil, err
		}
		if out := e.GetOutput(); out != nil {
			return out, nil
		}
	}
}
