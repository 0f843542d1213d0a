package runtime

import "time"

// StallAfter shortens the time for clients to read the last output of an ended process.
func (d *Driver) StallAfter(t time.Duration) { d.stall = t }

// ReadPid exports readPid.
var ReadPid = readPid
