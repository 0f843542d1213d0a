package runtime

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

// seccompCache are seccomp profiles in the form in which crun gave them to the kernel.
//
// To translate Docker's default profile takes crun far longer than everything else that it does for a container. It writes the result to its state
// folder, and takes one in an annotation. So each profile is translated once, by crun itself, and its result is given to it again for the very same
// profile. Builds of crun that ignore the annotation find the profile in the specification, as ever.
type seccompCache struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]string // base64
}

const (
	filterAnnotation = "run.oci.seccomp_bpf_data"
	filterFile       = "seccomp.bpf"
	maxFilters       = 64
)

// filterKey is what a translation depends on: the profile, and the program that translates it.
func filterKey(r *ociRuntime, spec *specs.Spec) (key [sha256.Size]byte, ok bool) {
	if r.flavour != crun || spec.Linux == nil || spec.Linux.Seccomp == nil || spec.Linux.Seccomp.ListenerPath != "" {
		return key, false
	}
	profile, err := json.Marshal(spec.Linux.Seccomp)
	if err != nil {
		return key, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	program, err := json.Marshal([]any{r.path, r.source.Dev, r.source.Ino, r.source.Size, r.source.Mtim.Sec, r.source.Mtim.Nsec})
	return sha256.Sum256(append(profile, program...)), err == nil
}

// apply gives the specification with the translation in it, if there is one.
func (f *seccompCache) apply(r *ociRuntime, spec *specs.Spec) *specs.Spec {
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

// store keeps the translation that crun made for a container.
func (f *seccompCache) store(r *ociRuntime, spec *specs.Spec, state string) {
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
