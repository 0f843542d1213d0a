package networks

import (
	"errors"
	"net/http"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

func TestConflictsOfNetworksAreForbidden(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Busy, fault.Exists, fault.Conflict} {
		got, ok := errors.AsType[*httpapi.Error](forbidden(fault.New(kind, "network front", "has active endpoints")))
		if !ok || got.Status != http.StatusForbidden || got.Message != "network front: has active endpoints" {
			t.Errorf("kind %v: got %+v", kind, got)
		}
	}
	for _, err := range []error{
		nil, errors.New("other"), fault.New(fault.NotFound, "network front", "not found"),
		fault.New(fault.Exists, "network front", "already exists", fault.WithField("name")),
	} {
		if got := forbidden(err); !errors.Is(got, err) {
			t.Errorf("%v: got %v", err, got)
		}
	}
}
