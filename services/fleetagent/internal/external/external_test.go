package external

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
)

func TestBadStoresAreRefused(t *testing.T) {
	good := []string{"https://e1.example.net:2379"}
	for name, c := range map[string]struct {
		store Store
		want  string
	}{
		"none":           {Store{}, "has no endpoints"},
		"no TLS":         {Store{Endpoints: []string{"http://e1:2379"}}, "is not a URL as in"},
		"no port":        {Store{Endpoints: []string{"https://e1"}}, "is not a URL as in"},
		"no scheme":      {Store{Endpoints: []string{"e1:2379"}}, "is not a URL as in"},
		"a path":         {Store{Endpoints: []string{"https://e1:2379/v3"}}, "is not a URL as in"},
		"a password":     {Store{Endpoints: []string{"https://a:b@e1:2379"}}, "is not a URL as in"},
		"twice":          {Store{Endpoints: append(good, good...)}, "is given twice"},
		"relative":       {Store{Endpoints: good, Prefix: "a"}, "does not start with a slash"},
		"empty part":     {Store{Endpoints: good, Prefix: "/a//b"}, "has an empty part"},
		"blank":          {Store{Endpoints: good, Prefix: "/a b"}, "has other characters"},
		"long":           {Store{Endpoints: good, Prefix: "/" + strings.Repeat("a", 200)}, "is longer than 200"},
		"no authority":   {Store{Endpoints: good}, "needs --store-ca"},
		"no certificate": {Store{Endpoints: good, CA: []byte("x")}, "needs --store-cert"},
		"no key":         {Store{Endpoints: good, CA: []byte("x"), Cert: []byte("x")}, "needs --store-key"},
		"not PEM": {Store{Endpoints: good, CA: []byte("x"), Cert: []byte("x"), Key: []byte("x")},
			"--store-ca: has no certificate"},
	} {
		if err := c.store.Check(time.Now()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		}
	}
}

func TestStoresAreNormal(t *testing.T) {
	s := Store{Endpoints: []string{" https://e1:2379/ "}, Prefix: "/a/b/"}.Normal()
	if s.Endpoints[0] != "https://e1:2379" || s.Prefix != "/a/b" {
		t.Errorf("got %+v", s)
	}
}

func TestServersMustFit(t *testing.T) {
	good := etcd.Status{Version: "3.6.14", Cluster: 7, Leader: 1}
	with := func(change func(*etcd.Status)) State {
		s := good
		change(&s)
		return State{URL: "https://e2:2379", Status: s}
	}
	for name, c := range map[string]struct {
		state State
		want  string
	}{
		"same":        {with(func(*etcd.Status) {}), ""},
		"old":         {with(func(s *etcd.Status) { s.Version = "3.6.13" }), "is older than 3.5.33, 3.6.14 or 3.7.1"},
		"older":       {with(func(s *etcd.Status) { s.Version = "3.4.23" }), "is older than"},
		"another":     {with(func(s *etcd.Status) { s.Cluster = 8 }), "is of another cluster than that at"},
		"learner":     {with(func(s *etcd.Status) { s.Learner = true }), "is a learner"},
		"no leader":   {with(func(s *etcd.Status) { s.Leader = 0 }), "has no leader"},
		"full":        {with(func(s *etcd.Status) { s.Problems = []string{"NOSPACE"} }), "accepts no changes: NOSPACE"},
		"unreachable": {State{Err: errors.New("cannot be reached")}, "cannot be reached"},
	} {
		err := Fit([]State{{URL: "https://e1:2379", Status: good}, c.state})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		}
	}
}

func TestCredentialsAreReplacedTogether(t *testing.T) {
	s := &Store{Endpoints: []string{"https://e1:2379"}, Prefix: "/a", Serial: 4, CA: []byte("ca"), Cert: []byte("c"),
		Key: []byte("k")}
	next, err := s.With(&Store{Cert: []byte("c2"), Key: []byte("k2")})
	if err != nil || string(next.Cert)+string(next.Key)+string(next.CA) != "c2k2ca" || next.Prefix != "/a" {
		t.Errorf("got %+v, error %v", next, err)
	}
	for want, changed := range map[string]*Store{
		"can only be changed together": {Cert: []byte("c2")},
		"cannot be changed":            {Prefix: "/b"},
	} {
		if _, err := s.With(changed); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
	if s.Public().Key != nil || s.Shown().GetKey() != nil || s.Replaces(&Store{Serial: 4, Key: []byte("k")}) ||
		!s.Replaces(s.Public()) || !s.Replaces(nil) || !s.Replaces(&Store{Serial: 3, Key: []byte("k")}) {
		t.Error("got credentials that are not replaced by newer ones, or are shown")
	}
}
