package refusals

import (
	"fmt"
	"testing"
)

// With more containers than records the newest records are kept.
func TestRecordsOfManyContainers(t *testing.T) {
	var all []Refusal
	for i := range 30 {
		all = append(all, Refusal{Owner: fmt.Sprint(i)})
	}
	kept, old := share(all, 10)
	if len(kept) != 10 || len(old) != 20 || kept[0].Owner != "20" || kept[9].Owner != "29" || old[0].Owner != "0" {
		t.Errorf("kept %v, forgot %v", kept, old)
	}
}
