package main

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// command is one line of a script.
type command struct {
	text   string
	reason string // the name of the reason why the engines differ; empty means that they must not
}

// script is a list of commands, and of the reasons for differences.
type script struct {
	commands []command
	reasons  map[string]string
}

// reasonLine defines a reason: [name] why.
var reasonLine = regexp.MustCompile(`^\[([a-z-]+)\] (.+)$`)

// suffix separates a command and the name of its reason.
const suffix = "  ## "

// readScript reads a script: comments, definitions of reasons, and commands of the shell.
func readScript(path string) (*script, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()

	s := &script{reasons: map[string]string{}}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if m := reasonLine.FindStringSubmatch(line); m != nil {
			s.reasons[m[1]] = m[2]
			continue
		}

		c := command{text: line}
		if text, reason, ok := strings.Cut(line, suffix); ok {
			if s.reasons[reason] == "" {
				return nil, fmt.Errorf("%s:%d: reason %q is not defined", path, n, reason)
			}
			c = command{strings.TrimSpace(text), reason}
		}
		s.commands = append(s.commands, c)
	}
	return s, lines.Err()
}
