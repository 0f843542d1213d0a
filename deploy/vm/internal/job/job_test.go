package job_test

import (
	"testing"

	"github.com/fairlead/fairlead/deploy/vm/internal/job"
)

func TestParseStatus(t *testing.T) {
	for _, want := range []int{0, 1, 137} {
		if code, ok := job.ParseStatus(job.Status(want)); code != want || !ok {
			t.Errorf("%d: got %d, %t", want, code, ok)
		}
	}
	for _, line := range []string{"", "exit", "exit x", "panic 1"} {
		if code, ok := job.ParseStatus(line); ok {
			t.Errorf("%q: got %d, want an error", line, code)
		}
	}
}
