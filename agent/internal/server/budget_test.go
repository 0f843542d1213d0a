package server

import "testing"

func TestSubscriptionsLimitedForEachPeer(t *testing.T) {
	b := budget{limit: 2}
	release, err := b.take("uid=1")
	if err != nil {
		t.Fatal(err)
	}

	for want := range 2 {
		if _, err := b.take("uid=1"); (err == nil) != (want == 0) {
			t.Errorf("subscription %d of the same peer: got error %v", want+2, err)
		}
	}
	if _, err := b.take("192.0.2.1"); err != nil {
		t.Errorf("other peer: got error %v", err)
	}

	release()
	if _, err := b.take("uid=1"); err != nil {
		t.Errorf("after a release: got error %v", err)
	}
}
