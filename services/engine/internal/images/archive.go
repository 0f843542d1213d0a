package images

import (
	"errors"
	"io"
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"
)

// Save serves GET /images/get and GET /images/{name}/get.
func (h *Handlers) Save(w http.ResponseWriter, r *httpapi.Request) error {
	names := r.URL.Query()["names"]
	if name := r.Param("name"); name != "" {
		names = []string{name}
	}
	platform, err := platform(r, 48)
	if err != nil {
		return err
	}

	stream, err := h.clients.Images.SaveImages(r.Context(),
		&containerv1.SaveImagesRequest{References: names, Platform: platform})
	if err != nil {
		return err
	}
	for begun := false; ; begun = true {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && begun {
			panic(http.ErrAbortHandler) // the client must not take the archive for a whole one
		}
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/x-tar")
		if _, err := w.Write(m.GetData()); err != nil {
			return err
		}
	}
}

// Load serves POST /images/load.
func (h *Handlers) Load(w http.ResponseWriter, r *httpapi.Request) error {
	platform, err := platform(r, 48)
	if err != nil {
		return err
	}
	stream, err := h.clients.Images.LoadImage(r.Context())
	if err != nil {
		return err
	}

	err = stream.Send(&containerv1.LoadImageRequest{Platform: platform})
	if err == nil {
		err = sendPieces(r.Request.Body, func(piece []byte) error {
			return stream.Send(&containerv1.LoadImageRequest{Data: piece})
		})
	}
	if err != nil && !errors.Is(err, io.EOF) { // with EOF, the response has the error
		return err
	}

	_ = stream.CloseSend() // the response has the error
	var loaded *containerv1.LoadImageResponse
	for loaded == nil {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.GetProgress() == nil {
			loaded = m
		}
	}
	(&lines{w: w}).write(imagedoc.Loaded(loaded.GetImages())...)
	return nil
}
