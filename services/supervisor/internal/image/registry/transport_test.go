package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// dripping returns one byte at a time, each after a pause, then blocks until its context is done.
type dripping struct {
	ctx   context.Context
	pause time.Duration
	left  int
}

func (d *dripping) Read(p []byte) (int, error) {
	wait := d.pause
	if d.left == 0 {
		wait = 1000 * time.Hour
	}

	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(wait):
		d.left--
		p[0] = 'x'
		return 1, nil
	}
}

func (*dripping) Close() error { return nil }

func TestStalledDownloadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		in, err := openStalling(t.Context(), func(ctx context.Context) (io.ReadCloser, error) {
			return &dripping{ctx, stallTimeout - time.Second, 3}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		var got bytes.Buffer
		_, err = io.Copy(&got, in)
		if !errors.Is(err, errStalled) || got.String() != "xxx" {
			t.Errorf("got %q, %v; want three bytes and %v", got.String(), err, errStalled)
		}

		if took := time.Since(start); took != 3*(stallTimeout-time.Second)+stallTimeout {
			t.Errorf("failed after %v", took)
		}
	})
}

func TestSlowReaderIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, err := openStalling(t.Context(), func(ctx context.Context) (io.ReadCloser,
			error) {
			return &dripping{ctx, time.Second, 10}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		for range 3 {
			if _, err := in.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * stallTimeout) // the disk is slow
		}
	})
}

func TestStalledOpenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := openStalling(t.Context(), func(ctx context.Context) (io.ReadCloser, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		if !errors.Is(err, errStalled) {
			t.Errorf("got %v, want %v", err, errStalled)
		}
	})
}
