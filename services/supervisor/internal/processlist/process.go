package processlist

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ticks is the number of clock ticks a second in /proc, which is 100 on all architectures of Linux.
const ticks = 100

// host holds the values of the host that columns use.
type host struct {
	booted time.Time
	now    time.Time
	memory uint64 // bytes
}

func readHost() host {
	h := host{now: time.Now()}
	var since unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &since) == nil {
		h.booted = h.now.Add(-time.Duration(since.Nano()))
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		h.memory = info.Totalram * uint64(info.Unit)
	}
	return h
}

// process is a process of /proc, see proc_pid_stat(5).
type process struct {
	pid, ppid, uid    int
	name, command     string
	state             string
	tty               int
	used              time.Duration // CPU time
	nice, threads     int
	started           time.Duration // after boot
	virtual, resident uint64        // bytes
	leader            bool          // of a session
	foreground        bool
}

// readProcess reads a process. ok is false if it has ended.
func readProcess(pid int) (p process, ok bool) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return p, false
	}
	if p, ok = parseStat(string(stat)); !ok {
		return p, false
	}

	if info, err := os.Stat(dir); err == nil {
		p.uid = int(info.Sys().(*syscall.Stat_t).Uid)
	}

	line, _ := os.ReadFile(dir + "cmdline")
	p.command = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
	if p.command == "" {
		p.command = "[" + p.name + "]"
	}

	return p, true
}

// parseStat parses /proc/PID/stat. The name is in parentheses and can contain some itself.
func parseStat(text string) (p process, ok bool) {
	open, closed := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || closed < open {
		return p, false
	}

	f := strings.Fields(text[closed+1:]) // f[0] is field 3 of the manual page
	if len(f) < 22 {
		return p, false
	}

	number := func(field int) int64 { n, _ := strconv.ParseInt(f[field-3], 10, 64); return n }
	pid, _ := strconv.Atoi(strings.TrimSpace(text[:open]))
	p = process{pid: pid, name: text[open+1 : closed], state: f[0], ppid: int(number(4)), tty: int(number(7)),
		used: time.Duration(number(14)+number(15)) * time.Second / ticks, nice: int(number(19)),
		threads: int(number(20)), started: time.Duration(number(22)) * time.Second / ticks,
		virtual: uint64(number(23)), resident: uint64(number(24)) * uint64(os.Getpagesize()),
		leader: int(number(6)) == pid, foreground: number(8) == number(5)}
	return p, true
}

// userName returns the name of a user of the host, or its ID.
func userName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return strconv.Itoa(uid)
	}
	return u.Username
}

// terminal returns the name of a terminal, see proc_pid_stat(5) for its number.
func terminal(number int) string {
	major, minor := number>>8&0xfff, number&0xff|number>>12&0xfff00
	switch {
	case number == 0:
		return "?"
	case major >= 136 && major <= 143:
		return fmt.Sprintf("pts/%d", (major-136)<<20+minor)
	case major == 4 && minor < 64:
		return fmt.Sprintf("tty%d", minor)
	case major == 4:
		return fmt.Sprintf("ttyS%d", minor-64)
	}
	return fmt.Sprintf("%d:%d", major, minor)
}
