package processlist

import (
	"fmt"
	"strconv"
	"time"
)

// column is a column of ps.
type column struct {
	names []string // in -o
	title string
	value func(p process, h host) string
}

// The columns of -ef and aux.
var (
	full = []string{"uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd"}
	aux  = []string{"user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "bsdtime", "command"}
)

// columns lists all columns.
var columns = []column{
	{[]string{"uid"}, "UID", func(p process, _ host) string { return userName(p.uid) }},
	{[]string{"user", "euser"}, "USER", func(p process, _ host) string { return userName(p.uid) }},
	{[]string{"euid", "uidn"}, "EUID", func(p process, _ host) string { return strconv.Itoa(p.uid) }},
	{[]string{"pid", "tgid"}, "PID", func(p process, _ host) string { return strconv.Itoa(p.pid) }},
	{[]string{"ppid"}, "PPID", func(p process, _ host) string { return strconv.Itoa(p.ppid) }},
	{[]string{"c"}, "C", func(p process, h host) string { return strconv.Itoa(int(p.share(h))) }},
	{[]string{"%cpu", "pcpu"}, "%CPU", func(p process, h host) string { return fmt.Sprintf("%.1f", p.share(h)) }},
	{[]string{"%mem", "pmem"}, "%MEM", func(p process, h host) string {
		return fmt.Sprintf("%.1f", 100*float64(p.resident)/float64(max(h.memory, 1)))
	}},
	{[]string{"vsz", "vsize"}, "VSZ", func(p process, _ host) string { return strconv.FormatUint(p.virtual/1024, 10) }},
	{[]string{"rss", "rssize", "rsz"}, "RSS", func(p process, _ host) string {
		return strconv.FormatUint(p.resident/1024, 10)
	}},
	{[]string{"tty", "tt", "tname"}, "TTY", func(p process, _ host) string { return terminal(p.tty) }},
	{[]string{"stat"}, "STAT", func(p process, _ host) string { return p.status() }},
	{[]string{"s", "state"}, "S", func(p process, _ host) string { return p.state }},
	{[]string{"stime"}, "STIME", func(p process, h host) string { return p.begun(h) }},
	{[]string{"start", "start_time", "bsdstart"}, "START", func(p process, h host) string { return p.begun(h) }},
	{[]string{"lstart"}, "STARTED", func(p process, h host) string {
		return h.booted.Add(p.started).Format("Mon Jan _2 15:04:05 2006")
	}},
	{[]string{"etime"}, "ELAPSED", func(p process, h host) string { return elapsed(p.age(h)) }},
	{[]string{"etimes"}, "ELAPSED", func(p process, h host) string {
		return strconv.Itoa(int(p.age(h).Seconds()))
	}},
	{[]string{"time", "cputime"}, "TIME", func(p process, _ host) string {
		s := int(p.used.Seconds())
		return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
	}},
	{[]string{"bsdtime"}, "TIME", func(p process, _ host) string {
		s := int(p.used.Seconds())
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}},
	{[]string{"ni", "nice"}, "NI", func(p process, _ host) string { return strconv.Itoa(p.nice) }},
	{[]string{"nlwp", "thcount"}, "NLWP", func(p process, _ host) string { return strconv.Itoa(p.threads) }},
	{[]string{"comm", "ucmd", "ucomm"}, "COMMAND", func(p process, _ host) string { return p.name }},
	{[]string{"cmd"}, "CMD", func(p process, _ host) string { return p.command }},
	{[]string{"command", "args"}, "COMMAND", func(p process, _ host) string { return p.command }},
}

// age returns the time since the start.
func (p process) age(h host) time.Duration { return h.now.Sub(h.booted) - p.started }

// share returns the CPU time in percent of the time since the start.
func (p process) share(h host) float64 {
	if p.age(h) <= 0 {
		return 0
	}
	return 100 * float64(p.used) / float64(p.age(h))
}

// begun formats the start as ps does.
func (p process) begun(h host) string {
	at := h.booted.Add(p.started)
	switch {
	case at.Year() != h.now.Year():
		return at.Format("2006")
	case at.YearDay() != h.now.YearDay():
		return at.Format("Jan02")
	}
	return at.Format("15:04")
}

// status formats the state as ps does.
func (p process) status() string {
	out := p.state
	if p.nice < 0 {
		out += "<"
	}
	if p.nice > 0 {
		out += "N"
	}
	if p.leader {
		out += "s"
	}
	if p.threads > 1 {
		out += "l"
	}
	if p.foreground && p.tty != 0 {
		out += "+"
	}
	return out
}

// elapsed formats a time as [[DD-]HH:]MM:SS.
func elapsed(d time.Duration) string {
	s := int(d.Seconds())
	out := fmt.Sprintf("%02d:%02d", s/60%60, s%60)
	if s >= 3600 {
		out = fmt.Sprintf("%02d:", s/3600%24) + out
	}
	if s >= 86400 {
		out = strconv.Itoa(s/86400) + "-" + out
	}
	return out
}
