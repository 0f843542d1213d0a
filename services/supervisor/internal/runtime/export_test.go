package runtime

import "time"

// StallAfter shortens the time that clients have to read what a process said before it ended.
func (d *Driver) StallAfter(t time.Duration) { d.stall = t }

// ReadPid is readPid.
var ReadPid = readPid
