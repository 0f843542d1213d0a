package images

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/authheader"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// chunkSize is the size of the pieces of archives. A message with one fits gRPC's buffers of 1 MB.
const chunkSize = 1<<20 - 1<<10

// credentials returns the credentials of a request for a registry, or nil.
func credentials(r *httpapi.Request) *containerv1.Credentials {
	return authheader.Credentials(r.Header)
}

// lines writes a JSON progress stream. Each line reaches the client immediately.
type lines struct {
	w     http.ResponseWriter
	begun bool
}

func (l *lines) write(messages ...imagedoc.Message) {
	if len(messages) == 0 {
		return
	}
	if !l.begun {
		l.w.Header().Set("Content-Type", "application/json")
		l.begun = true
	}
	out := json.NewEncoder(l.w)
	for _, m := range messages {
		_ = out.Encode(m) // the client is gone if it fails, which ends the request
	}
	_ = http.NewResponseController(l.w).Flush()
}

// end ends a stream. An error is the response if nothing was written before, otherwise a line.
func (l *lines) end(err error) error {
	if err == nil || !l.begun {
		return err
	}
	l.write(imagedoc.Failure(httpapi.Message(err)))
	return nil
}

// sendPieces sends the body of a request in pieces.
func sendPieces(body io.Reader, send func(piece []byte) error) error {
	for {
		// Each piece has its own memory, because a message belongs to gRPC once it is sent.
		piece := make([]byte, chunkSize)
		n, err := io.ReadFull(body, piece)
		if n > 0 {
			if err := send(piece[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return httpapi.Errorf(http.StatusBadRequest, "request body: cannot be read: %v", err)
		}
	}
}
