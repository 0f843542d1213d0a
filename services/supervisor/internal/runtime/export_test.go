package runtime

import (
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/procstat"
)

// StallAfter shortens the time for clients to read the last output of an ended process.
func (d *Driver) StallAfter(t time.Duration) { d.stall = t }

// EndingLimit exports endingLimit.
var EndingLimit = endingLimit

// ReadPid exports procstat.ReadPID.
var ReadPid = procstat.ReadPID
