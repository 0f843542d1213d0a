package oci

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// SeccompCache caches seccomp profiles compiled by crun.
//
// Compiling Docker's default profile takes crun far longer than the rest of a launch. crun writes
// the compiled filter to its state directory and accepts one in an annotation. So each profile is
// compiled once and passed to crun in later launches. Builds of crun without this annotation
// compile the profile in the specification.
type SeccompCache struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]string // base64
}

const (
	filterAnnotation = "run.oci.seccomp_bpf_data"
	filterFile       = "seccomp.bpf"
	maxFilters       = 64
)

// filterKey returns the cache key: a hash of the profile and of crun's file. ok is false if the
// profile cannot be cached.
func filterKey(r *Program, spec *specs.Spec) (key [sha256.Size]byte, ok bool) {
	if r.Flavor != Crun || spec.Linux == nil || spec.Linux.Seccomp == nil || spec.Linux.Seccomp.ListenerPath != "" {
		return key, false
	}
	profile, err := json.Marshal(spec.Linux.Seccomp)
	if err != nil {
		return key, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	file, err := json.Marshal([]any{r.Path, r.source.Dev, r.source.Ino, r.source.Size, r.source.Mtim.Sec,
		r.source.Mtim.Nsec})
	return sha256.Sum256(append(profile, file...)), err == nil
}

// Apply returns the specification with the compiled filter added, or spec itself if none is cached.
func (f *SeccompCache) Apply(r *Program, spec *specs.Spec) *specs.Spec {
	key, ok := filterKey(r, spec)
	if !ok {
		return spec
	}

	f.mu.Lock()
	filter := f.known[key]
	f.mu.Unlock()
	if filter == "" {
		return spec
	}

	with := *spec
	with.Annotations = maps.Clone(spec.Annotations)
	if with.Annotations == nil {
		with.Annotations = map[string]string{}
	}

	with.Annotations[filterAnnotation] = filter
	return &with
}

// Store caches the filter that crun compiled for a container.
func (f *SeccompCache) Store(r *Program, spec *specs.Spec, state string) {
	key, ok := filterKey(r, spec)
	if !ok {
		return
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known[key] != "" {
		return
	}

	bpf, err := os.ReadFile(filepath.Join(state, filterFile))
	if err != nil || len(bpf) == 0 || len(bpf)%unix.SizeofSockFilter != 0 {
		return
	}
	if len(f.known) >= maxFilters || f.known == nil {
		f.known = map[[sha256.Size]byte]string{}
	}

	f.known[key] = base64.StdEncoding.EncodeToString(bpf)
}
