package process

import (
	"os"
	"strconv"

	"github.com/fairlead/fairlead/proto/fault"
)

// SetOOMScore sets the OOM preference of this process, see proc_pid_oom_score_adj(5). Nil means
// unchanged.
func SetOOMScore(score *int) error {
	if score == nil {
		return nil
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(*score)), 0); err != nil {
		return fault.New(fault.Invalid, "oom-score-adjust "+strconv.Itoa(*score), "cannot be set",
			fault.WithField("oom-score-adjust"), fault.WithCause(err),
			fault.WithHint("a lower score than the present one requires CAP_SYS_RESOURCE"))
	}
	return nil
}
