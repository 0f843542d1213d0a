package config

import (
	"slices"
	"strconv"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
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
	n, ok := parseSize(text)
	switch {
	case !ok:
		return bad(hint, "%q is not a valid size", text)
	case n < minLogSize:
		return bad(hint, "%q is less than the %d KiB that a log needs", text, minLogSize>>10)
	}
	c.LogMaxSize = n
	return nil
}

// setLogDriver accepts the drivers that exist.
func setLogDriver(c *Config, text string) error {
	if !slices.Contains([]string{"json-file", "local", "journald", "none"}, text) {
		return bad("write json-file, local, journald or none: logs are files, read by `fairlead logs`",
			"log driver %q is not supported", text)
	}
	c.LogDriver = text
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

func setBandwidth(c *Config, text string) error {
	limit, err := bandwidth.Parse(text)
	if err != nil {
		return bad("write in=RATE,out=RATE, such as in=10mbit,out=2mbit, or none", "%s", err)
	}
	c.Limits.Bandwidth = limit
	return nil
}

func setPackets(c *Config, text string) error {
	packets, err := egress.ParsePackets(text)
	if err != nil {
		return bad("write in=NUMBER,out=NUMBER, such as in=5000,out=2000, or none", "%s", err)
	}
	c.Limits.Limits.Packets = packets
	return nil
}

func setMaxConnections(c *Config, text string) error {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return bad("write a number of connections, or 0 for no limit", "%q is not a valid limit", text)
	}
	c.Limits.Limits.Connections = uint32(n)
	return nil
}
