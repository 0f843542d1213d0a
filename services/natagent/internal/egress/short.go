package egress

import (
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// shortIDs has owners by short ID, which the kernel returns with each record. Some can be missing or gone.
type shortIDs map[string]string

// find returns the container with a short ID, or nil.
func (s *shortIDs) find(installed map[string]*plan.Plan, short string) *plan.Plan {
	if c := installed[(*s)[short]]; c != nil {
		return c
	}
	*s = make(shortIDs, len(installed))
	for owner := range installed {
		(*s)[id.Short(owner)] = owner
	}
	return installed[(*s)[short]]
}
