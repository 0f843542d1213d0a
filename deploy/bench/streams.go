package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The output of the container: numbered lines of 100 bytes.
const (
	streamBytes  = 128 << 20
	streamLine   = 100
	streamRounds = 3
)

// stream holds the results of one engine.
type stream struct{ write, writeCPU, read, readCPU, attach, attachCPU []time.Duration }

// streams measures how fast output of a container reaches the log, a reader of the log and an attached
// client, and how much processor time the engines take for it. Each output is complete, or the step
// fails.
func (b *bench) streams(ctx context.Context, t *table) error {
	dir := filepath.Join(b.lab.Dir, "lines")
	sum, err := writeLines(dir)
	if err != nil {
		return err
	}

	all := append([]*engine{b.fairlead}, b.peers...)
	results := make([]stream, len(all))
	for range streamRounds {
		for i, e := range all {
			if err := results[i].logs(ctx, e, dir, sum); err != nil {
				return fmt.Errorf("%s: logs: %w", e.name, err)
			}
			if err := results[i].attached(ctx, e, dir, sum); err != nil {
				return fmt.Errorf("%s: attach: %w", e.name, err)
			}
		}
	}

	for i, peer := range all[1:] {
		own, other := results[0], results[i+1]
		add := func(what string, took, against []time.Duration, wanted string) {
			t.add(row{what: what, took: median(took), against: peer.name, other: median(against), wanted: wanted})
		}
		add("128 MB from a container to its log", own.write, other.write, "at most 1; 1.34 s")
		add("  its processor time", own.writeCPU, other.writeCPU, "at most 1")
		add("128 MB from the log by logs", own.read, other.read, "at most 1; 1.34 s")
		add("  its processor time", own.readCPU, other.readCPU, "at most 1")
		add("128 MB from a container to a client and its log", own.attach, other.attach, "at most 1; 1.34 s")
		add("  its processor time", own.attachCPU, other.attachCPU, "at most 1")
	}

	return os.RemoveAll(dir)
}

// writeLines writes the file that containers print and returns its hash.
func writeLines(dir string) ([]byte, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "lines"))
	if err != nil {
		return nil, err
	}

	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<20)
	for i := range streamBytes / streamLine {
		fmt.Fprintf(w, "%09d %089d\n", i, i)
	}
	err = errors.Join(w.Flush(), f.Close())
	return sum.Sum(nil), err
}

// lineBytes is the length of the file.
const lineBytes = streamBytes / streamLine * streamLine

const printer = "streams"

// printer returns a command that creates the container. Its log is not rotated.
func (e *engine) printer(verb, dir, script string) []string {
	args := append(strings.Fields(verb), "--name", printer, "-v", dir+":/lines")
	if e.name == "fairlead" { // the others have no limit unless asked for one
		args = append(args, "--log-opt", "max-size=-1")
	}
	return append(args, e.image, "sh", "-c", script)
}

// logs measures a container that prints to its log, then a client that reads the log.
func (s *stream) logs(ctx context.Context, e *engine, dir string, sum []byte) error {
	written := filepath.Join(dir, "written")
	_ = os.Remove(written)
	before, start := e.cpu(), time.Now()
	_, err := e.run(ctx, e.printer("run -d", dir, "cat /lines/lines; touch /lines/written; exec sleep 100000")...)
	if err != nil {
		return err
	}

	if err := awaitFile(ctx, written); err != nil {
		return err
	}
	for last := fmt.Sprintf("%09d ", streamBytes/streamLine-1); ; {
		out, err := e.run(ctx, "logs", "--tail", "1", printer)
		if err != nil {
			return err
		}
		if strings.HasPrefix(out, last) {
			break
		}
	}
	s.write = append(s.write, time.Since(start))
	s.writeCPU = append(s.writeCPU, e.cpu()-before)

	before, start = e.cpu(), time.Now()
	out := &reader{sum: sha256.New(), full: func() {}}
	client := e.command(ctx, "logs", printer)
	client.Stdout = out
	if err := e.host.Host.Run(client); err != nil {
		return err
	}
	s.read = append(s.read, time.Since(start))
	s.readCPU = append(s.readCPU, e.cpu()-before+client.ProcessState.UserTime()+client.ProcessState.SystemTime())
	return errors.Join(out.check(sum), e.remove(ctx))
}

// attached measures a container that prints to an attached client and to its log.
func (s *stream) attached(ctx context.Context, e *engine, dir string, sum []byte) error {
	_, err := e.run(ctx, e.printer("create", dir, "cat /lines/lines; exec sleep 100000")...)
	if err != nil {
		return err
	}

	before, start := e.cpu(), time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &reader{sum: sha256.New(), full: cancel} // the client never ends by itself
	client := e.command(ctx, "start", "-a", printer)
	client.Stdout = out
	err = e.host.Host.Run(client)
	if out.n < lineBytes {
		return fmt.Errorf("got %d bytes of %d: %w", out.n, lineBytes, err)
	}
	s.attach = append(s.attach, out.at.Sub(start))
	s.attachCPU = append(s.attachCPU, e.cpu()-before+client.ProcessState.UserTime()+client.ProcessState.SystemTime())
	return errors.Join(out.check(sum), e.remove(context.WithoutCancel(ctx)))
}

// awaitFile waits until a file exists.
func awaitFile(ctx context.Context, path string) error {
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (e *engine) remove(ctx context.Context) error {
	_, err := e.run(ctx, "rm", "-f", printer)
	return err
}

// reader counts and hashes output, and calls full after the last line.
type reader struct {
	sum  hash.Hash
	n    int
	at   time.Time
	full func()
}

func (r *reader) Write(p []byte) (int, error) {
	r.n += len(p)
	if r.n >= lineBytes && r.at.IsZero() {
		r.at = time.Now()
		r.full()
	}
	return r.sum.Write(p)
}

func (r *reader) check(sum []byte) error {
	if got := r.sum.Sum(nil); r.n != lineBytes || !bytes.Equal(got, sum) {
		return fmt.Errorf("got %d bytes with hash %x, want %d with %x", r.n, got, lineBytes, sum)
	}
	return nil
}

// cpu returns the processor time of the engine's processes, without its client and its containers.
func (e *engine) cpu() time.Duration { return e.host.CPU(e.helpers...) }
