package publish

import (
	"strings"
	"testing"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

func TestMalformedEndpointsAreRefused(t *testing.T) {
	good := func() *fleetv1.OverlayEndpoint {
		return &fleetv1.OverlayEndpoint{NetworkId: "a1", Owner: "b2", Names: []string{"web"},
			Addresses: []string{"10.128.0.2"}}
	}
	for name, c := range map[string]struct {
		change func(*fleetv1.OverlayEndpoint)
		want   string
	}{
		"good":       {func(*fleetv1.OverlayEndpoint) {}, ""},
		"other key":  {func(e *fleetv1.OverlayEndpoint) { e.Owner = "b2/../c3" }, "no valid network and owner"},
		"no network": {func(e *fleetv1.OverlayEndpoint) { e.NetworkId = "" }, "no valid network and owner"},
		"long owner": {func(e *fleetv1.OverlayEndpoint) { e.Owner = strings.Repeat("a", 129) }, "no valid network"},
		"no name":    {func(e *fleetv1.OverlayEndpoint) { e.Names = []string{""} }, `"" is not a name`},
		"long name":  {func(e *fleetv1.OverlayEndpoint) { e.Names[0] = strings.Repeat("a", 256) }, "is not a name"},
		"many names": {func(e *fleetv1.OverlayEndpoint) { e.Names = make([]string, 65) }, "has 65 names"},
		"labels":     {func(e *fleetv1.OverlayEndpoint) { e.Labels = map[string]string{"app": "web", "tier": ""} }, ""},
		"long label": {func(e *fleetv1.OverlayEndpoint) {
			e.Labels = map[string]string{"app": strings.Repeat("a", 16<<10)}
		}, "has 1 labels of 16387 bytes"},
		"bad addresses": {func(e *fleetv1.OverlayEndpoint) { e.Addresses[0] = "x" }, `"x" is not an address`},
	} {
		e := good()
		c.change(e)
		err := CheckEndpoint(e)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		}
	}
}
