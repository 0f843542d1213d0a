package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bigFile    = 1 << 30
	smallFiles = 50_000
	smallFile  = 1024
	fileRounds = 1
)

// files measures copies between the host and a container, against tar on the same disk and the peers.
func (b *bench) files(ctx context.Context, t *table) error {
	dir := filepath.Join(b.lab.Dir, "files")
	if err := errors.Join(writeBig(filepath.Join(dir, "big")), writeSmall(filepath.Join(dir, "small"))); err != nil {
		return err
	}

	all := append([]*engine{b.fairlead}, b.peers...)
	for _, e := range all {
		_, err := e.run(ctx, "run", "-d", "--name", copied, e.image, "sleep", "100000")
		if err != nil {
			return err
		}
	}

	for _, what := range []struct{ name, title string }{{"big", "1 GiB"}, {"small", "50,000 files"}} {
		in, out, err := copies(ctx, all, dir, what.name)
		if err != nil {
			return err
		}
		for i := range in[1:] {
			against, wanted := "tar | tar", "at most 1.25"
			if i > 0 {
				against, wanted = b.peers[i-1].name, ""
			}
			t.add(row{what: "cp of " + what.title + " into a container", took: in[1], against: against,
				other: other(in, i), wanted: wanted})
			t.add(row{what: "cp of " + what.title + " out of a container", took: out[1], against: against,
				other: other(out, i), wanted: wanted})
		}
	}

	for _, e := range all {
		if _, err := e.run(ctx, "rm", "-f", copied); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// copied is the container of the copies.
const copied = "copied"

// other returns what the agent is compared with in row i: tar first, then the peers.
func other(took []time.Duration, i int) time.Duration {
	if i == 0 {
		return took[0]
	}
	return took[i+1]
}

// copies returns the median times of copies into and out of containers: of tar, then of each engine.
func copies(ctx context.Context, all []*engine, dir, name string) (in, out []time.Duration, err error) {
	from := filepath.Join(dir, name)
	ins, outs := make([][]time.Duration, len(all)+1), make([][]time.Duration, len(all)+1)
	for range fileRounds {
		for i := range len(all) + 1 {
			to := filepath.Join(dir, "to")
			copyIn := func() error { return pipe(ctx, from, to) }
			copyOut, clean := copyIn, func() error { return nil }
			if i > 0 {
				e := all[i-1]
				copyIn = func() error { _, err := e.run(ctx, "cp", from, copied+":/"); return err }
				copyOut = func() error { _, err := e.run(ctx, "cp", copied+":/"+name, to+"/"); return err }
				clean = func() error { _, err := e.run(ctx, "exec", copied, "rm", "-r", "/"+name); return err }
			}
			first, err := timed(to, copyIn)
			if err != nil {
				return nil, nil, err
			}
			second, err := timed(to, copyOut)
			if err := errors.Join(err, clean()); err != nil {
				return nil, nil, err
			}
			ins[i], outs[i] = append(ins[i], first), append(outs[i], second)
		}
	}

	for i := range ins {
		in, out = append(in, median(ins[i])), append(out, median(outs[i]))
	}
	return in, out, nil
}

// timed measures a copy to a new directory, which is removed after it. Earlier writes are flushed first.
func timed(to string, run func() error) (time.Duration, error) {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return 0, err
	}
	unix.Sync()
	start := time.Now()
	err := run()
	took := time.Since(start)
	return took, errors.Join(err, os.RemoveAll(to))
}

// pipe copies a file or a directory with two tar processes.
func pipe(ctx context.Context, from, to string) error {
	script := `tar -C "$1" -cf - "$2" | tar -C "$3" -xf -`
	cmd := exec.CommandContext(ctx, "sh", "-c", script, "sh", filepath.Dir(from), filepath.Base(from), to)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	return nil
}

// writeBig writes one file of random content.
func writeBig(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeRandom(path, bigFile, 1)
}

// writeRandom writes a file of random content.
func writeRandom(path string, size int, seed uint64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(seed, 0))
	w := bufio.NewWriterSize(f, 1<<20)
	var word [8]byte
	for range size / len(word) {
		n := random.Uint64()
		for i := range word {
			word[i] = byte(n >> (8 * i))
		}
		_, _ = w.Write(word[:]) // Flush returns its error
	}
	return errors.Join(w.Flush(), f.Close())
}

// writeSmall writes a tree of small files.
func writeSmall(dir string) error {
	const perDirectory = 500
	data := make([]byte, smallFile)
	for i := range smallFiles {
		path := filepath.Join(dir, fmt.Sprint(i/perDirectory), fmt.Sprint(i))
		if i%perDirectory == 0 {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
