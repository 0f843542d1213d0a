package cause_test

import (
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/cause"
)

func TestProgramsAreTakenOnce(t *testing.T) {
	var p cause.Programs[string]
	p.Note("ip", "a")
	p.Note("", "a") // keeps the known one
	p.Note("nft", "b")
	for _, row := range []struct{ key, want string }{{"a", "ip"}, {"a", ""}, {"b", "nft"}, {"c", ""}} {
		if got := p.Take(row.key); got != row.want {
			t.Errorf("%s: got %q, want %q", row.key, got, row.want)
		}
	}
	if got := cause.OrUnknown(""); got != "unknown" || cause.OrUnknown("ip") != "ip" {
		t.Errorf("got %q", got)
	}
}
