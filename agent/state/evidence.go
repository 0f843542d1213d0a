package state

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Evidence is data that a store must have records of: glob patterns of files by what they are, in the plural.
type Evidence map[string]string

// Find describes what there is; empty if there is nothing.
func (e Evidence) Find() string {
	var found []string
	for _, what := range slices.Sorted(maps.Keys(e)) {
		if paths, _ := filepath.Glob(e[what]); len(paths) > 0 {
			found = append(found, fmt.Sprintf("%s (%d) in %s", what, len(paths), filepath.Dir(e[what])))
		}
	}
	return strings.Join(found, ", ")
}
