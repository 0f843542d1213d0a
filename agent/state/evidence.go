package state

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Evidence describes data that a store must have records of. It maps a plural noun to a glob
// pattern of files.
type Evidence map[string]string

// Find describes the existing data. It is empty if there is none.
func (e Evidence) Find() string {
	var found []string
	for _, what := range slices.Sorted(maps.Keys(e)) {
		if paths, _ := filepath.Glob(e[what]); len(paths) > 0 {
			found = append(found, fmt.Sprintf("%s (%d) in %s", what, len(paths), filepath.Dir(e[what])))
		}
	}
	return strings.Join(found, ", ")
}
