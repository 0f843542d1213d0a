package wire_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

func TestMessageIsKept(t *testing.T) {
	value, err := structpb.NewValue(map[string]any{"a": 1.5, "b": []any{true, "x"}, "c": nil})
	if err != nil {
		t.Fatal(err)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	m, err := wire.Parse(data)
	if err != nil || !bytes.Equal(m.Bytes(), data) {
		t.Errorf("got %x, %v; want %x", m.Bytes(), err, data)
	}
}

func TestFields(t *testing.T) {
	m := wire.Message{}.WithText(1, "old").WithText(1, "new").WithInt(2, -3).WithEntry(3, "k", "v").
		WithEntry(3, "l", "w").WithData(4, wire.Message{}.WithInt(1, 7).Bytes()).WithData(5, []byte{0xff})
	m, err := wire.Parse(m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if m.Text(1) != "new" || len(m.Texts(1)) != 2 || m.Int(2) != -3 || m.Message(4).Int(1) != 7 ||
		m.Message(5) != nil || m.Data(9) != nil || m.Int(9) != 0 || len(m.Without(3)) != 5 {
		t.Errorf("got %v", m)
	}
	if d := cmp.Diff(map[string]string{"k": "v", "l": "w"}, m.Map(3)); d != "" {
		t.Error(d)
	}
	if changed := m.Without(1).WithText(1, "x"); changed.Text(1) != "x" || m.Text(1) != "new" {
		t.Errorf("got %q and %q", changed.Text(1), m.Text(1))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0x0a, 0x02, 'a', 'b', 0x10, 0x01, 0x1d, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := wire.Parse(data)
		if err != nil {
			return
		}
		again, err := wire.Parse(m.Bytes())
		if err != nil || cmp.Diff(m, again) != "" {
			t.Errorf("%x: got %v, %v after a round trip of %v", data, again, err, m)
		}
	})
}
