package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	imageFiles    = 500 // of 1 MB each
	changedFiles  = 100 // of 1 MB each
	contentRounds = 3
	imageName     = "contents"
)

// contents measures save, commit and push of an image of 500 MB.
func (b *bench) contents(ctx context.Context, t *table) error {
	dir := filepath.Join(b.lab.Dir, "contents")
	if err := writeMegabytes(filepath.Join(dir, "image"), imageFiles); err != nil {
		return err
	}
	if err := writeMegabytes(filepath.Join(dir, "changes"), changedFiles); err != nil {
		return err
	}

	all := append([]*engine{b.fairlead}, b.peers...)
	for _, e := range all {
		if err := e.makeImage(ctx, dir); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}

	saves, commits := make([][]time.Duration, len(all)), make([][]time.Duration, len(all))
	for range contentRounds {
		for i, e := range all {
			saved, committed, err := e.saveAndCommit(ctx, dir)
			if err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
			saves[i], commits[i] = append(saves[i], saved), append(commits[i], committed)
		}
	}

	for i, peer := range b.peers {
		wanted := map[string]string{"docker": "at most 0.5"}[peer.name]
		t.add(row{what: "save of 500 MB", took: median(saves[0]), against: peer.name, other: median(saves[i+1]),
			wanted: wanted})
		t.add(row{what: "commit of 100 MB", took: median(commits[0]), against: peer.name, other: median(commits[i+1]),
			wanted: wanted})
	}

	return errors.Join(b.push(ctx, t), b.removeImages(ctx, all), os.RemoveAll(dir))
}

// writeMegabytes writes files of 1 MB.
func writeMegabytes(dir string, count int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range count {
		if err := writeRandom(filepath.Join(dir, fmt.Sprint(i)), 1e6, uint64(i)); err != nil {
			return err
		}
	}
	return nil
}

// makeImage imports the image.
func (e *engine) makeImage(ctx context.Context, dir string) error {
	archive := filepath.Join(dir, "image.tar")
	script := `test -e "$1" || { busybox mkdir -p "$2/bin" && cp "$(command -v busybox)" "$2/bin/" && tar -C "$2" -cf "$1" .; }`
	if _, err := e.host.Host.Output(ctx, "sh", "-c", script, "sh", archive, filepath.Join(dir, "image")); err != nil {
		return err
	}
	_, err := e.run(ctx, "import", archive, imageName)
	return err
}

// saveAndCommit measures a save of the image, and a commit of a container with changes.
func (e *engine) saveAndCommit(ctx context.Context, dir string) (saved, committed time.Duration, err error) {
	archive := filepath.Join(dir, "saved.tar")
	unix.Sync()
	start := time.Now()
	if _, err := e.run(ctx, "save", "-o", archive, imageName); err != nil {
		return 0, 0, err
	}
	saved = time.Since(start)
	if info, err := os.Stat(archive); err != nil || info.Size() < imageFiles*1e6 {
		return 0, 0, fmt.Errorf("save: got %v, %w", info, err)
	}

	_, err = e.run(ctx, "run", "--name", copied, "-v", filepath.Join(dir, "changes")+":/changes", e.image,
		"cp", "-r", "/changes", "/copy")
	if err != nil {
		return 0, 0, err
	}
	unix.Sync()
	start = time.Now()
	out, err := e.run(ctx, "commit", copied, "committed")
	committed = time.Since(start)
	if err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, out)
	}
	_, removed := e.run(ctx, "rm", copied)
	_, untagged := e.run(ctx, "rmi", "committed")
	return saved, committed, errors.Join(removed, untagged, os.Remove(archive))
}

// push measures a push of an image whose layers exist. Each blob costs one request.
func (b *bench) push(ctx context.Context, t *table) error {
	listener, err := b.lab.Host.Listen("tcp", "127.0.0.1:5001")
	if err != nil {
		return err
	}
	seen := &counter{images: b.images}
	server := &http.Server{Handler: seen, ReadHeaderTimeout: 10 * time.Second}
	go func(l net.Listener) { _ = server.Serve(l) }(listener)
	defer func() { _ = server.Close() }()

	const name = "127.0.0.1:5001/again"
	for _, args := range []string{"tag nginx " + name, "push " + name} {
		if _, err := b.fairlead.run(ctx, strings.Fields(args)...); err != nil {
			return err
		}
	}

	seen.reset()
	start := time.Now()
	if _, err := b.fairlead.run(ctx, "push", name); err != nil {
		return err
	}
	took := time.Since(start)
	for path, methods := range seen.blobs {
		if strings.Join(methods, " ") != http.MethodHead {
			return fmt.Errorf("push: got requests %v for %s, want one HEAD", methods, path)
		}
	}
	t.add(row{what: fmt.Sprintf("push, %d blobs exist, one HEAD each", len(seen.blobs)), took: took})
	_, err = b.fairlead.run(ctx, "rmi", name)
	return err
}

// counter records the requests for blobs.
type counter struct {
	images http.Handler
	mu     sync.Mutex
	blobs  map[string][]string
}

func (c *counter) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blobs = map[string][]string{}
}

// ServeHTTP serves and records one request.
func (c *counter) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	c.mu.Lock()
	if c.blobs != nil && strings.Contains(req.URL.Path, "/blobs/") {
		c.blobs[req.URL.Path] = append(c.blobs[req.URL.Path], req.Method)
	}
	c.mu.Unlock()
	c.images.ServeHTTP(w, req)
}

func (b *bench) removeImages(ctx context.Context, all []*engine) error {
	var errs []error
	for _, e := range all {
		_, err := e.run(ctx, "rmi", imageName)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
