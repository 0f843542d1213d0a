package registry_test

import (
	"io"
	"net"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/fairlead/fairlead/deploy/internal/registry"
)

func TestFaultsOfPulls(t *testing.T) {
	img, err := random.Image(64<<10, 2)
	if err != nil {
		t.Fatal(err)
	}

	r, err := registry.New(map[string]v1.Image{"library/thing:1": img})
	if err != nil {
		t.Fatal(err)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Serve(l).Close()

	for _, c := range []struct {
		fault registry.Fault
		ok    bool
	}{
		{registry.None, true},
		{registry.Unwilling, false},
		{registry.Truncated, false},
		{registry.Corrupt, false},
		{registry.Forbidding, false},
		{registry.None, true},
	} {
		r.Set(c.fault)
		if err := pull(l.Addr().String() + "/library/thing:1"); (err == nil) != c.ok {
			t.Errorf("fault %s: pull: %v", c.fault, err)
		}
	}
}

func pull(reference string) error {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return err
	}

	img, err := remote.Image(ref, remote.WithRetryStatusCodes(), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
	if err != nil {
		return err
	}

	layers, err := img.Layers()
	if err != nil {
		return err
	}

	for _, layer := range layers {
		if err := read(layer); err != nil {
			return err
		}
	}

	return nil
}

func read(layer v1.Layer) error {
	r, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}
