package config

import (
	"math"
	"strconv"
	"strings"
)

// Limits of a container's log.
const (
	minLogSize  = 64 << 10
	maxLogFiles = 100
)

// setLogMaxSize parses 512k, 10m or 1g in Docker's binary units. -1 means no limit.
func setLogMaxSize(c *Config, text string) error {
	const hint = "write a size such as 10m, or -1 for no limit"
	if text == "-1" {
		c.LogMaxSize = 0
		return nil
	}
	number, unit := strings.ToLower(text), int64(1)
	for suffix, factor := range map[string]int64{"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "kb": 1 << 10,
		"mb": 1 << 20, "gb": 1 << 30} {
		if n, ok := strings.CutSuffix(strings.ToLower(text), suffix); ok && len(n) < len(number) {
			number, unit = n, factor
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil || n < 0 || n > math.MaxInt64/unit:
		return bad(hint, "%q is not a valid size", text)
	case n*unit < minLogSize:
		return bad(hint, "%q is less than the %d KiB that a log needs", text, minLogSize>>10)
	}
	c.LogMaxSize = n * unit
	return nil
}

func setLogMaxFile(c *Config, text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLogFiles {
		return bad("write a number in quotes", "%q is not a number of files from 1 to %d", text, maxLogFiles)
	}
	c.LogMaxFile = n
	return nil
}

func setPidsLimit(c *Config, text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < -1 {
		return bad("write a number of processes, or 0 for no limit", "%q is not a valid limit", text)
	}
	c.PidsLimit = max(n, 0)
	return nil
}
