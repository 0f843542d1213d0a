package buildkit

import (
	"context"
	"errors"
	"io"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// exporterKey returns the name of an exporter in the metadata of its calls.
func exporterKey(place int) string { return strconv.Itoa(place) }

// sentData is the field of a message with a piece of an archive.
const sentData wire.Number = 1

// load serves the archive of an exporter: the store loads it. BuildKit waits for the end of the call, so
// that an image is stored when its build ends.
func (i *images) load(in grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(i.ctx)
	defer cancel() // an aborted upload must not wait for the end of the session
	stream, err := i.client.LoadImage(ctx)
	if err != nil {
		return err
	}
	err = i.sendArchive(in, stream)
	if err != nil && !errors.Is(err, io.EOF) { // with EOF, the response has the error
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		if m.GetProgress() == nil {
			return nil
		}
	}
}

// sendArchive passes the pieces of an archive on.
func (i *images) sendArchive(in grpc.ServerStream, to containerv1.ImageService_LoadImageClient) error {
	for {
		f := &frame{}
		err := in.RecvMsg(f)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := wire.Parse(f.data)
		if err != nil {
			return err
		}
		if _, err := (&pieceWriter{to}).Write(m.Data(sentData)); err != nil {
			return err
		}
	}
}

// loadChunk is the maximum size of a piece for the store.
const loadChunk = 1 << 20
