package layers

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
)

func never(string) bool { return false }

func openStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(Config{Dir: filepath.Join(t.TempDir(), "layers"), Used: never})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func smallTar(t testing.TB, name string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}),
		w.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestSweepKeepsHeldLayer(t *testing.T) {
	testns.NeedRoot(t)
	s := openStore(t)
	d, err := s.AddArchive(context.Background(), bytes.NewReader(smallTar(t, "a")))
	if err != nil {
		t.Fatal(err)
	}

	s.Hold(d)
	if gone, err := s.Release(never, d); err != nil || len(gone) > 0 || !s.Has(d) {
		t.Errorf("swept after one of two releases: %v, %v", gone, err)
	}

	if gone, err := s.Sweep(never, d, d); err != nil || len(gone) > 0 {
		t.Errorf("swept while held: %v, %v", gone, err)
	}

	if gone, err := s.Release(func(string) bool { return true }, d); err != nil || len(gone) > 0 || !s.Has(d) {
		t.Errorf("swept while used: %v, %v", gone, err)
	}

	if gone, err := s.Sweep(never, d); err != nil || !slices.Equal(gone, []string{d}) || s.Has(d) {
		t.Errorf("neither held nor used: got %v, %v; want it removed", gone, err)
	}

	if left, _ := os.ReadDir(s.dir); len(left) > 0 {
		t.Errorf("%v is not removed", left)
	}
}

func TestOpenKeepsUsedLayers(t *testing.T) {
	testns.NeedRoot(t)
	s := openStore(t)
	var ids []string
	for _, name := range []string{"a", "b"} {
		d, err := s.AddArchive(context.Background(), bytes.NewReader(smallTar(t, name)))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, d)
	}

	again, err := Open(Config{Dir: s.dir, Used: func(d string) bool { return d == ids[1] }})
	if err != nil || again.Has(ids[0]) || !again.Has(ids[1]) {
		t.Errorf("%v; unused layer exists: %v, used layer exists: %v", err, again.Has(ids[0]), again.Has(ids[1]))
	}
}

// A layer that an image used is data of a lost record.
func TestOpenSetsLostLayersAside(t *testing.T) {
	testns.NeedRoot(t)
	s, aside := openStore(t), t.TempDir()
	d, err := s.AddArchive(context.Background(), bytes.NewReader(smallTar(t, "a")))
	if err != nil {
		t.Fatal(err)
	}

	s.Keep(d)
	again, err := Open(Config{Dir: s.dir, Used: never, Aside: func() (string, error) { return aside, nil }})
	if err != nil || again.Has(d) {
		t.Fatalf("%v; layer exists: %v", err, again.Has(d))
	}

	if _, err := os.Stat(filepath.Join(aside, filepath.Base(s.layerDir(d)), fsName)); err != nil {
		t.Error(err)
	}
}

func TestFailedSharedDownloadIsRetried(t *testing.T) {
	testns.NeedRoot(t)
	s := openStore(t)
	data := smallTar(t, "a")
	d, err := s.AddArchive(context.Background(), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}

	if _, err := s.Release(never, d); err != nil {
		t.Fatal(err)
	}

	denied := fault.New(fault.Denied, "layer", "no")
	started, second := make(chan struct{}), make(chan error, 1)
	go func() {
		<-started
		s.Hold(d)
		var asked atomic.Bool
		err := s.Add(context.Background(), Blob{DiffID: d, Open: func(context.Context) (io.ReadCloser, error) {
			asked.Store(true)
			return io.NopCloser(bytes.NewReader(data)), nil
		}}, func(Progress) {})
		if !asked.Load() {
			err = errors.Join(err, errors.New("its own blob was not opened"))
		}
		second <- err
	}()

	err = s.Add(context.Background(), Blob{DiffID: d, Open: func(context.Context) (io.ReadCloser, error) {
		close(started)
		waitForWaiters(t, s, d, 2)
		return nil, denied
	}}, func(Progress) {})
	if !fault.Is(err, fault.Denied) {
		t.Errorf("first caller: got %v, want %v", err, denied)
	}

	if err := <-second; err != nil {
		t.Errorf("second caller: %v", err)
	}
}

// waitForWaiters returns when want callers wait for a layer.
func waitForWaiters(t *testing.T, s *Store, diffID string, want int) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		s.inFlight.mu.Lock()
		f := s.inFlight.now[diffID]
		s.inFlight.mu.Unlock()
		f.mu.Lock()
		n := f.waiting
		f.mu.Unlock()
		if n >= want {
			return
		}
	}

	t.Errorf("timeout waiting for %d callers", want)
}

func FuzzAddArchive(f *testing.F) {
	testns.NeedRoot(f)
	f.Add(smallTar(f, "../../x"))
	f.Add(smallTar(f, "a/.wh..wh..opq"))
	f.Add(smallTar(f, ".wh.a"))
	f.Add([]byte("text"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := openStore(t)
		d, err := s.AddArchive(context.Background(), bytes.NewReader(data))
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v, want an Invalid fault", err)
		}
		up, _ := os.ReadDir(filepath.Dir(s.dir))
		in, _ := os.ReadDir(s.dir)
		if len(up) != 1 || err == nil && (len(in) != 1 || !s.Has(d)) || err != nil && len(in) != 0 {
			t.Errorf("%v: got files %v and %v", err, up, in)
		}
	})
}
