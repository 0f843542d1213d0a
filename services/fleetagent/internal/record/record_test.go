package record

import (
	"net/netip"
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

func TestPrefixNamesAreOrderedAsAddresses(t *testing.T) {
	k := ForFleet("", "f1")
	for text, want := range map[string]string{
		"10.128.0.0/28": "0a800000-28", "10.128.0.77/32": "0a80004d-32",
		"fd00::40/122": "fd000000000000000000000000000040-122",
	} {
		p := netip.MustParsePrefix(text)
		if got := Last(k.Block("n", p)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
		if got, ok := ParsePrefixName(want); !ok || got != p {
			t.Errorf("%s: got %v, %v", want, got, ok)
		}
	}
	for _, name := range []string{"", "0a80004d", "0a80004d-33", "0a80004d-8", "0A80004D-32", "0a80-8", "0a80004d-032",
		"zz800000-28", "0a80004d--1"} {
		if p, ok := ParsePrefixName(name); ok {
			t.Errorf("%s: got %s", name, p)
		}
	}
}

func TestKeysAreSplit(t *testing.T) {
	k := ForFleet("", "f1")
	if got := k.Split(k.Endpoint("h", "n", "o")); strings.Join(got, " ") != "e h n o" {
		t.Errorf("got %v", got)
	}
	if got := k.Split(ForFleet("", "f2").Pool()); got != nil {
		t.Errorf("got %v for the key of another fleet", got)
	}
}

func FuzzPrefixName(f *testing.F) {
	f.Add("0a80004d-32")
	f.Fuzz(func(t *testing.T, name string) {
		if p, ok := ParsePrefixName(name); ok && PrefixName(p) != name {
			t.Errorf("got %s for %q", p, name)
		}
	})
}
