package images

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/distribution/reference"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"
)

// Create serves POST /images/create: a pull, or the import of an archive.
func (h *Handlers) Create(w http.ResponseWriter, r *httpapi.Request) error {
	if r.Query("fromImage") != "" {
		return h.pull(w, r)
	}
	return h.importArchive(w, r)
}

// platformText returns the platform of a pull or import, which is os/arch[/variant].
func platformText(r *httpapi.Request) string {
	if r.Version.Before(32) {
		return ""
	}
	return r.Query("platform")
}

func (h *Handlers) pull(w http.ResponseWriter, r *httpapi.Request) error {
	ref, err := referenceOf(r.Query("fromImage"), r.Query("tag"))
	if err != nil {
		return err
	}

	before, err := h.idOf(r.Context(), ref)
	if err != nil {
		return err
	}
	stream, err := h.clients.Images.PullImage(r.Context(), &containerv1.PullImageRequest{Reference: ref,
		Platform: platformText(r), Credentials: credentials(r)})
	if err != nil {
		return err
	}

	out, progress := &lines{w: w}, &imagedoc.Pull{Image: ref}
	for {
		m, err := stream.Recv()
		if err != nil {
			return out.end(err)
		}
		if i := m.GetImage(); i != nil {
			out.write(progress.End(i, before)...)
			return nil
		}
		out.write(progress.Add(m.GetProgress())...)
	}
}

// idOf returns the ID of an image, or nothing if it is not stored.
func (h *Handlers) idOf(ctx context.Context, ref string) (string, error) {
	got, err := h.clients.Images.GetImage(ctx, &containerv1.GetImageRequest{Reference: ref})
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	return got.GetImage().GetId(), err
}

// importArchive imports the body of the request.
func (h *Handlers) importArchive(w http.ResponseWriter, r *httpapi.Request) error {
	source := r.Query("fromSrc")
	if source != "-" {
		return httpapi.Errorf(http.StatusBadRequest,
			"import from %.200q: URLs are not supported; send the archive with fromSrc=-", source)
	}
	options := &containerv1.ImportOptions{Changes: r.URL.Query()["changes"], Platform: platformText(r),
		Message: r.Query("message")}
	if options.GetMessage() == "" {
		options.Message = "Imported from " + source
	}
	if r.Query("repo") != "" {
		ref, err := referenceOf(r.Query("repo"), r.Query("tag"))
		if err != nil {
			return err
		}
		options.Reference = ref
	}

	stream, err := h.clients.Images.ImportImage(r.Context())
	if err != nil {
		return err
	}
	err = stream.Send(&containerv1.ImportImageRequest{
		Message: &containerv1.ImportImageRequest_Options{Options: options}})
	if err == nil {
		err = sendPieces(r.Request.Body, func(piece []byte) error {
			return stream.Send(&containerv1.ImportImageRequest{
				Message: &containerv1.ImportImageRequest_Data{Data: piece}})
		})
	}
	if err != nil && !errors.Is(err, io.EOF) { // with EOF, the response has the error
		return err
	}

	imported, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	(&lines{w: w}).write(imagedoc.Status("%s", imported.GetImage().GetId()))
	return nil
}

// Push serves POST /images/{name}/push. Without a tag it pushes all tags.
func (h *Handlers) Push(w http.ResponseWriter, r *httpapi.Request) error {
	name, tag := r.Param("name"), r.Query("tag")
	if tag != "" {
		joined, err := referenceOf(name, tag)
		if err != nil {
			return err
		}
		name = joined
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	platform, err := platform(r, 46)
	if err != nil {
		return err
	}

	stream, err := h.clients.Images.PushImage(r.Context(), &containerv1.PushImageRequest{
		Reference: reference.FamiliarString(named), Platform: platform, Credentials: credentials(r),
		AllTags: reference.IsNameOnly(named)})
	if err != nil {
		return err
	}

	out, progress := &lines{w: w}, &imagedoc.Push{Repository: named.Name()}
	out.write(progress.Open()...)
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return out.end(err)
		}
		if p := m.GetPushed(); p != nil {
			out.write(progress.Pushed(p)...)
			continue
		}
		out.write(progress.Add(m.GetProgress())...)
	}
}
