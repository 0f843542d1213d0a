// Package cpulist parses the kernel's lists of CPUs and memory nodes. It performs no I/O. Packages
// container and cgroup use it.
package cpulist

import (
	"fmt"
	"strconv"
	"strings"
)

// maxCPUNumber bounds the numbers of a list, which would otherwise need much memory.
const maxCPUNumber = 8192

// Parse parses a list of CPUs or memory nodes such as "0-2,4", see cpuset(7). Empty is an
// empty list.
func Parse(text string) (map[int]bool, error) {
	out := map[int]bool{}
	if text == "" {
		return out, nil
	}

	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		low, err := strconv.Atoi(first)
		high := low
		if err == nil && ranged {
			high, err = strconv.Atoi(last)
		}
		switch {
		case err != nil || low < 0 || high < low:
			return nil, fmt.Errorf("invalid format: %q", part)
		case high > maxCPUNumber:
			return nil, fmt.Errorf("invalid number %d, the maximum is %d", high, maxCPUNumber)
		}
		for n := low; n <= high; n++ {
			out[n] = true
		}
	}

	return out, nil
}
