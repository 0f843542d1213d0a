package oci

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/proto/fault"
)

// ReadLog returns the content of a runtime's log file, empty if it does not exist.
func ReadLog(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// Message returns why a runtime failed. That is the last error of its log, which has one
// JSON object a line, or the first non-empty output.
func Message(log string, output ...string) string {
	message := ""
	for line := range bytes.Lines([]byte(log)) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(line, &entry) == nil && entry.Level == "error" {
			message = entry.Msg
		}
	}
	return strings.TrimSpace(cmp.Or(message, cmp.Or(output...), "the runtime printed no error"))
}

// StartFault returns the fault of a process that could not be started. If the user's command is the
// cause, it has Docker's wording and a reason.
func StartFault(subject string, p *specs.Process, message string) error {
	command := ""
	if p != nil && len(p.Args) > 0 {
		command = p.Args[0]
	}

	switch {
	case isNotFound(command, message):
		why := "executable file not found in $PATH"
		if strings.Contains(command, "/") {
			why = "stat " + command + ": no such file or directory"
		}
		return commandFault(subject, command, why, fault.ReasonCommandNotFound)
	case isNotExecutable(command, message):
		return commandFault(subject, command, "permission denied", fault.ReasonCommandNotExecutable)
	}

	return fault.New(fault.Internal, subject, "the runtime failed: "+message)
}

func commandFault(subject, command, why, reason string) error {
	return fault.New(fault.Invalid, subject, fmt.Sprintf("exec: %q: %s", command, why), fault.WithField("command"),
		fault.WithReason(reason))
}

// isNotFound reports whether a message of crun or runc means that the program does not exist.
func isNotFound(command, message string) bool {
	switch {
	case strings.HasPrefix(message, "executable file `"+command+"` not found"):
	case strings.HasPrefix(message, "open executable: No such file"):
	case strings.Contains(message, fmt.Sprintf("exec: %q: executable file not found", command)):
	case strings.Contains(message, fmt.Sprintf("exec: %q: stat %s: no such file", command, command)):
	default:
		return false
	}
	return true
}

// isNotExecutable reports whether a message of crun or runc means that a file is not executable.
// Such a file is a directory, or has no execute permission.
func isNotExecutable(command, message string) bool {
	switch {
	case strings.HasPrefix(message, "open executable: "):
	case strings.HasPrefix(message, "open `"+command+"`: "):
	case strings.HasPrefix(message, "the path `"+command+"` "):
	case strings.Contains(message, fmt.Sprintf("exec: %q: ", command)):
	default:
		return false
	}
	return true
}
