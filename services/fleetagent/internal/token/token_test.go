package token

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func sample() Token {
	t := Token{Role: Member, Managers: []netip.AddrPort{
		netip.MustParseAddrPort("192.0.2.1:7450"), netip.MustParseAddrPort("[2001:db8::1]:7450")}}
	copy(t.CA[:], bytes.Repeat([]byte{0xca}, len(t.CA)))
	copy(t.Secret[:], bytes.Repeat([]byte{0x5e}, len(t.Secret)))
	return t
}

func TestTokenRoundTrip(t *testing.T) {
	for name, change := range map[string]func(*Token){
		"member":       func(*Token) {},
		"manager":      func(k *Token) { k.Role = Manager },
		"one manager":  func(k *Token) { k.Managers = k.Managers[:1] },
		"random":       func(k *Token) { k.Secret = NewSecret() },
		"IPv6 manager": func(k *Token) { k.Managers = k.Managers[1:] },
	} {
		want := sample()
		change(&want)
		text := want.String()
		got, err := Parse(" " + text + "\n")
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, error %v, want %v", name, got, err, want)
		}
		if strings.ContainsAny(text, " \t\n\"'$&;|") || len(text) > 200 {
			t.Errorf("%s: got token %q, want one short word", name, text)
		}
	}
}

func TestEachCutOrAlteredTokenIsRefused(t *testing.T) {
	text := sample().String()
	for i := range text {
		if _, err := Parse(text[:i]); err == nil {
			t.Errorf("got no error for a token of %d of %d characters", i, len(text))
		}
		for _, c := range "Aa0-_" {
			altered := text[:i] + string(c) + text[i+1:]
			if altered == text {
				continue
			}
			if _, err := Parse(altered); err == nil {
				t.Errorf("got no error for character %d changed to %c", i, c)
			}
		}
	}
}

func TestTokenErrorsNameTheFault(t *testing.T) {
	text := sample().String()
	none := sample()
	none.Managers = nil
	role := sample()
	role.Role = 9
	port := sample()
	port.Managers = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")}
	for in, want := range map[string]string{
		"":                              "is empty",
		"SWMTKN-1-abc":                  "does not start with flt1.",
		"flt2." + text[len(Prefix):]:    "another version",
		text + strings.Repeat("A", 9):   "cut off or altered",
		Prefix + "!!!":                  "cut off or altered",
		text + strings.Repeat("A", 600): "too long",
		none.String():                   "cut off or altered",
		role.String():                   "cut off or altered",
		port.String():                   "cut off or altered",
	} {
		_, err := Parse(in)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "join token: ") {
			t.Errorf("%.20q: got error %v, want one with %q", in, err, want)
		}
		if err != nil && len(in) > 20 && strings.Contains(err.Error(), in[5:20]) {
			t.Errorf("got error %v, which contains the token", err)
		}
	}
}

func TestHashHidesTheSecret(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	if a == b || Hash(a) == Hash(b) || len(Hash(a)) != 64 {
		t.Errorf("got hashes %s and %s", Hash(a), Hash(b))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample().String())
	f.Add("flt1.")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Parse(s)
		if err != nil {
			return
		}
		if got.String() != strings.TrimSpace(s) {
			t.Errorf("got %q from %q", got, s)
		}
	})
}
