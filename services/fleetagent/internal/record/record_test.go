package record

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

func TestKeysAreBelowTheFleet(t *testing.T) {
	k := ForFleet("/shop", "f1")
	for want, got := range map[string]string{
		"/shop/fairlead/1/f1/": k.All(), "/shop/fairlead/1/f1/h/a": k.Host("a"),
		"/shop/fairlead/1/f1/name/web": k.Name("web"), "/shop/fairlead/1/f1/live/a": k.Presence("a"),
		"/shop/fairlead/1/f1/join/00": k.Token("00"),
	} {
		if got != want {
			t.Errorf("got key %s, want %s", got, want)
		}
	}
	if got := Last(k.Host("a")); got != "a" {
		t.Errorf("got last element %s", got)
	}
}

func TestValueRoundTrip(t *testing.T) {
	want := &fleetv1.Host{Id: "a", Name: "one", Address: "192.0.2.1", Port: 7450,
		Role: fleetv1.HostRole_HOST_ROLE_MANAGER}
	data, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	var got fleetv1.Host
	if err := Decode("k", data, &got); err != nil || !proto.Equal(&got, want) {
		t.Errorf("got %v, error %v", &got, err)
	}
}

func TestUnknownFieldsAreKept(t *testing.T) {
	body, _ := proto.Marshal(&fleetv1.Host{Id: "a"})
	body = protowire.AppendString(protowire.AppendTag(body, 999, protowire.BytesType), "later")
	first, err := Encode(raw(t, body))
	if err != nil {
		t.Fatal(err)
	}
	var host fleetv1.Host
	if err := Decode("k", first, &host); err != nil {
		t.Fatal(err)
	}
	if second, err := Encode(&host); err != nil || string(second) != string(first) {
		t.Errorf("got %q, error %v, want %q", second, err, first)
	}
}

func raw(t *testing.T, body []byte) proto.Message {
	t.Helper()
	var host fleetv1.Host
	if err := proto.Unmarshal(body, &host); err != nil {
		t.Fatal(err)
	}
	return &host
}

func TestDamagedValuesAreRecognised(t *testing.T) {
	data, err := Encode(&fleetv1.Host{Id: "a", Name: "one"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		for bit := range 8 {
			changed := []byte(string(data))
			changed[i] ^= 1 << bit
			if err := Decode("h/a", changed, &fleetv1.Host{}); err == nil || !strings.HasPrefix(err.Error(),
				"record h/a: ") {
				t.Fatalf("byte %d, bit %d: got error %v", i, bit, err)
			}
		}
		if err := Decode("h/a", data[:i], &fleetv1.Host{}); err == nil {
			t.Fatalf("got no error for %d of %d bytes", i, len(data))
		}
	}
}

func FuzzDecode(f *testing.F) {
	data, _ := Encode(&fleetv1.Host{Id: "a"})
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var host fleetv1.Host
		_ = Decode("k", data, &host) // must not panic
	})
}
