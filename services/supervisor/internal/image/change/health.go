package change

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
)

// setHealth parses HEALTHCHECK NONE, or HEALTHCHECK [OPTIONS] CMD command.
func setHealth(c *Config, s string) string {
	var h healthcheck.Check
	for strings.HasPrefix(s, "--") {
		option, rest, _ := strings.Cut(s, " ")
		if why := setHealthOption(&h, option); why != "" {
			return why
		}
		s = strings.TrimSpace(rest)
	}

	kind, rest, _ := strings.Cut(s, " ")
	rest = strings.TrimSpace(rest)
	switch kind = strings.ToUpper(kind); {
	case kind == "NONE" && rest == "":
		h.Test = []string{"NONE"}
	case kind == "CMD" && rest != "":
		h.Test = []string{"CMD-SHELL", rest}
		var args []string
		if strings.HasPrefix(rest, "[") && json.Unmarshal([]byte(rest), &args) == nil {
			h.Test = append([]string{"CMD"}, args...)
		}
	default:
		return "requires NONE or CMD and a command, got " + strconv.Quote(s)
	}

	if err := h.Validate("HEALTHCHECK"); err != nil {
		return "is not valid: " + err.Error()
	}
	c.Healthcheck = &h
	return ""
}

func setHealthOption(h *healthcheck.Check, option string) string {
	name, value, _ := strings.Cut(option, "=")
	if name == "--retries" {
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return "--retries requires a number, got " + strconv.Quote(value)
		}
		h.Retries = n
		return ""
	}

	durations := map[string]*time.Duration{"--interval": &h.Interval, "--timeout": &h.Timeout,
		"--start-period": &h.StartPeriod, "--start-interval": &h.StartInterval}
	to := durations[name]
	if to == nil {
		return "has no option " + name
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return name + " requires a duration, got " + strconv.Quote(value)
	}
	*to = d
	return ""
}

// setOnBuild adds an instruction for builds on the image.
func setOnBuild(c *Config, s string) string {
	word, _, _ := strings.Cut(s, " ")
	if slices.Contains([]string{"ONBUILD", "FROM", "MAINTAINER"}, strings.ToUpper(word)) {
		return "does not accept the instruction " + strings.ToUpper(word)
	}
	c.OnBuild = append(c.OnBuild, s)
	return ""
}
