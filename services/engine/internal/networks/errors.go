package networks

import (
	"errors"
	"net/http"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// forbidden returns err with the status that Docker has for conflicts of networks. Only a name that is in
// use has the usual one.
func forbidden(err error) error {
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok || f.Field == "name" || !slices.Contains([]fault.Kind{fault.Exists, fault.Busy, fault.Conflict}, f.Kind) {
		return err
	}
	return httpapi.Errorf(http.StatusForbidden, "%s", httpapi.Message(err))
}
