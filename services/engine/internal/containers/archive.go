package containers

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// statHeader is the header with the attributes of a file.
const statHeader = "X-Docker-Container-Path-Stat"

// pathOf returns the path of a request.
func pathOf(r *httpapi.Request) (string, error) {
	path := r.Query("path")
	if path == "" {
		return "", httpapi.Errorf(http.StatusBadRequest, "bad parameter: path cannot be empty")
	}
	return path, nil
}

// setStat sets the header with the attributes of a file.
func setStat(w http.ResponseWriter, s *containerv1.FileStat) error {
	text, err := json.Marshal(container.PathStat{Name: s.GetName(), Size: s.GetSize(), Mode: fileMode(s.GetMode()),
		Mtime: s.GetModifiedAt().AsTime(), LinkTarget: s.GetLinkTarget()})
	if err != nil {
		return err
	}
	w.Header().Set(statHeader, base64.StdEncoding.EncodeToString(text))
	return nil
}

// fileMode converts a mode of the kernel to Go's, which Docker's clients expect.
func fileMode(st uint32) os.FileMode {
	mode := os.FileMode(st & 0o777)
	switch st & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= os.ModeDir
	case unix.S_IFLNK:
		mode |= os.ModeSymlink
	case unix.S_IFIFO:
		mode |= os.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= os.ModeSocket
	case unix.S_IFCHR:
		mode |= os.ModeDevice | os.ModeCharDevice
	case unix.S_IFBLK:
		mode |= os.ModeDevice
	}
	for bit, flag := range map[uint32]os.FileMode{unix.S_ISUID: os.ModeSetuid, unix.S_ISGID: os.ModeSetgid,
		unix.S_ISVTX: os.ModeSticky} {
		if st&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

// StatArchive serves HEAD /containers/{name}/archive.
func (h *Handlers) StatArchive(w http.ResponseWriter, r *httpapi.Request) error {
	path, err := pathOf(r)
	if err != nil {
		return err
	}
	stat, err := h.clients.Files.StatPath(r.Context(), &containerv1.StatPathRequest{Reference: r.Name(), Path: path})
	if err != nil {
		return err
	}
	if err := setStat(w, stat.GetStat()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// GetArchive serves GET /containers/{name}/archive.
func (h *Handlers) GetArchive(w http.ResponseWriter, r *httpapi.Request) error {
	path, err := pathOf(r)
	if err != nil {
		return err
	}
	stream, err := h.clients.Files.CopyFromContainer(r.Context(),
		&containerv1.CopyFromContainerRequest{Reference: r.Name(), Path: path})
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if err := setStat(w, first.GetStat()); err != nil {
		return err
	}
	return httpapi.Download(w, "application/x-tar", func() ([]byte, error) {
		response, err := stream.Recv()
		return response.GetData(), err
	})
}

// PutArchive serves PUT /containers/{name}/archive. The body is a tar archive, whatever its content type.
func (h *Handlers) PutArchive(w http.ResponseWriter, r *httpapi.Request) error {
	path, err := pathOf(r)
	if err != nil {
		return err
	}
	stream, err := h.clients.Files.CopyToContainer(r.Context())
	if err != nil {
		return err
	}
	target := &containerv1.CopyTarget{Reference: r.Name(), Path: path, KeepOwner: true,
		Replace: !r.Bool("noOverwriteDirNonDir")}
	if err := stream.Send(&containerv1.CopyToContainerRequest{
		Message: &containerv1.CopyToContainerRequest_Target{Target: target}}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := httpapi.Upload(w, r, func(data []byte) error {
		return stream.Send(&containerv1.CopyToContainerRequest{
			Message: &containerv1.CopyToContainerRequest_Data{Data: data}})
	}); err != nil {
		return err
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
