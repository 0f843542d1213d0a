package store

import (
	"time"

	"github.com/fairlead/fairlead/agent/state"
)

// Image is an unpacked image. Its id is its configuration's digest.
//
//	images: id (sha256:…) -> Image, found by tag and by layer too
type Image struct {
	ID        string    // sha256:…
	Tags      []string  // full references with a tag: docker.io/library/nginx:latest
	Digests   []string  // full references with a digest: docker.io/library/nginx@sha256:…
	Layers    []string  // diff ids, lowest first
	Size      int64     // bytes unpacked
	Platform  string    // os/arch[/variant]
	CreatedAt time.Time // as its maker says
	StoredAt  time.Time // when it came here
	Config    []byte    // the OCI image configuration as JSON
}

var images = state.NewTable("images", func(i *Image) string { return i.ID },
	state.Index[Image]{Name: "tag", Of: func(i *Image) []string { return i.Tags }},
	state.Index[Image]{Name: "layer", Of: func(i *Image) []string { return i.Layers }})
