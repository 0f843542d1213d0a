package runtime

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

// readRuntimeLog gives what a runtime wrote to its log file; "" if there is none.
func readRuntimeLog(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// runtimeMessage finds out why a runtime failed: the last error of its log, which is JSON by the line, or else what it or its monitor said.
func runtimeMessage(log string, said ...string) string {
	message := ""
	for line := range bytes.Lines([]byte(log)) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(line, &entry) == nil && entry.Level == "error" {
			message = entry.Msg
		}
	}
	return strings.TrimSpace(cmp.Or(message, cmp.Or(said...), "the runtime said nothing"))
}

// startFault is the fault of a process that could not be started, with Docker's words and reasons where the user's command is at fault.
func startFault(subject string, p *specs.Process, message string) error {
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
	return fault.New(fault.Invalid, subject, fmt.Sprintf("exec: %q: %s", command, why), fault.WithField("command"), fault.WithReason(reason))
}

// isNotFound knows crun's and runc's words for a program that is not there.
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

// isNotExecutable knows crun's and runc's words for a file that cannot be executed: a folder, or one without the permission.
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
