// Package builds has the handlers of operations on builds. The engine has no builder yet, so there is no
// cache.
package builds

import (
	"net/http"

	"github.com/moby/moby/api/types/build"

	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Operations returns the operations.
func Operations() []httpapi.Operation {
	return []httpapi.Operation{
		{Method: http.MethodPost, Path: "/build/prune", Handle: Prune, Since: apiversion.V(31)},
	}
}

// Prune serves POST /build/prune, which the prune of the system calls too.
func Prune(w http.ResponseWriter, _ *httpapi.Request) error {
	return httpapi.WriteJSON(w, http.StatusOK, build.CachePruneReport{CachesDeleted: []string{}})
}
