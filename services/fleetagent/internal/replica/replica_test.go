package replica

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
)

var sample = []etcd.Value{
	{Key: "/a", Data: []byte("one"), Revision: 7}, {Key: "/b", Data: []byte{}, Revision: 8},
	{Key: "/c", Data: []byte("three"), Revision: 1 << 40},
}

var position = etcd.Position{Cluster: 1<<63 + 5, Revision: 99}

func saved(t testing.TB) (string, []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fleet", "replica")
	if err := Save(path, sample, position); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, data
}

func TestRoundTrip(t *testing.T) {
	path, _ := saved(t)
	all, at, lost, err := Load(path)
	if err != nil || lost != 0 || at != position || !reflect.DeepEqual(all, sample) {
		t.Errorf("got %v at %v, lost %d, error %v", all, at, lost, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, error %v", info.Mode(), err)
	}
	if all, _, lost, err := Load(path + ".none"); len(all) != 0 || lost != 0 || err != nil {
		t.Errorf("without a file: got %v, lost %d, error %v", all, lost, err)
	}
}

func TestDamagedRecordIsLeftOut(t *testing.T) {
	_, data := saved(t)
	for i := range data {
		changed := append([]byte(nil), data...)
		changed[i] ^= 0x40
		all, _, lost := parse(changed)
		if lost == 0 {
			t.Fatalf("byte %d: the damage was not noticed", i)
		}
		for _, v := range all {
			if !reflect.DeepEqual(v, sample[int(v.Key[1]-'a')]) {
				t.Fatalf("byte %d: got %v", i, v)
			}
		}
	}
	// The first byte of the last body: the records before it remain.
	changed := append([]byte(nil), data...)
	changed[len(changed)-1] ^= 1
	if all, at, lost := parse(changed); lost != 1 || at != position || !reflect.DeepEqual(all, sample[:2]) {
		t.Errorf("got %v at %v, lost %d", all, at, lost)
	}
	for i := range data {
		if all, _, _ := parse(data[:i]); len(all) > len(sample) {
			t.Fatalf("got %d records of %d bytes", len(all), i)
		}
	}
}

func FuzzParse(f *testing.F) {
	_, data := saved(f)
	f.Add(data)
	f.Fuzz(func(_ *testing.T, data []byte) { _, _, _ = parse(data) })
}
