package session

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Probe runs a command in a container and returns its exit code and the start of its output. It
// kills a command that has not ended when ctx ends.
func (s *Sessions) Probe(ctx context.Context, c *container.Container, args []string,
	maxOutput int) (code int, output string, err error) {
	_, process, err := s.Exec(ctx, ExecRequest{Reference: c.ID, Args: args})
	if err != nil {
		return -1, "", err
	}

	defer func() { _ = process.Close() }()
	defer context.AfterFunc(ctx, func() { _ = process.Kill(); _ = process.Close() })()

	var text strings.Builder
	for {
		frame, err := process.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return -1, text.String(), errors.Join(ctx.Err(), err)
		}
		text.Write(frame.Data[:min(len(frame.Data), maxOutput-text.Len())])
	}

	code, err = process.Wait(ctx)
	return code, strings.ToValidUTF8(text.String(), "\uFFFD"), err
}
