package oci

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/proto/fault"
)

func TestRuntimeErrorsMapToDocker(t *testing.T) {
	for _, c := range []struct{ command, output, reason, want string }{
		// crun 1.8
		{"foo", "executable file `foo` not found in $PATH: No such file or directory", fault.ReasonCommandNotFound, `exec: "foo": executable file not found in $PATH`},
		{"/foo", "executable file `/foo` not found in $PATH: No such file or directory", fault.ReasonCommandNotFound, `exec: "/foo": stat /foo: no such file or directory`},
		{"/bin", "open executable: Operation not permitted", fault.ReasonCommandNotExecutable, `exec: "/bin": permission denied`},
		{"x", "open executable: Permission denied", fault.ReasonCommandNotExecutable, `exec: "x": permission denied`},
		// crun 1.19
		{"/foo", "executable file `/foo` not found: No such file or directory", fault.ReasonCommandNotFound, `stat /foo: no such file`},
		{"/bin", "the path `/bin` is not a regular file: Operation not permitted", fault.ReasonCommandNotExecutable, `permission denied`},
		{"x", "the path `x` exists but it is not executable: Operation not permitted", fault.ReasonCommandNotExecutable, `permission denied`},
		{"x", "open `x`: Permission denied", fault.ReasonCommandNotExecutable, `permission denied`},
		// runc 1.1
		{"foo", `runc create failed: unable to start container process: exec: "foo": executable file not found in $PATH`, fault.ReasonCommandNotFound, `exec: "foo": executable file not found in $PATH`},
		{"/foo", `exec failed: unable to start container process: exec: "/foo": stat /foo: no such file or directory`, fault.ReasonCommandNotFound, `stat /foo: no such file`},
		{"/bin", `unable to start container process: exec: "/bin": is a directory`, fault.ReasonCommandNotExecutable, `permission denied`},
		// other messages
		{"true", "chdir `/srv`: Not a directory", "", "the runtime failed: chdir `/srv`: Not a directory"},
		{"true", "open `/srv`: No such file or directory", "", "the runtime failed"},
		{"", "", "", "the runtime failed"},
	} {
		err := StartFault("container c1", &specs.Process{Args: []string{c.command}}, c.output)
		if fault.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), c.want) ||
			!strings.HasPrefix(err.Error(), "container c1: ") {
			t.Errorf("%q: got %v (%s); want %s (%s)", c.output, err, fault.ReasonOf(err), c.want, c.reason)
		}
	}

	if err := StartFault("container c1", nil, "no process"); fault.ReasonOf(err) != "" {
		t.Errorf("without a process: %v", err)
	}
}

func TestRuntimeMessageIsLastLogError(t *testing.T) {
	const log = `{"msg":"a warning","level":"warning"}
{"msg":"first\n","level":"error","time":"2026-11-23T19:37:32Z"}
not JSON
{"level":"error","msg":"second"}
{"msg":"information","level":"info"}
`
	for want, c := range map[string]struct {
		log    string
		output []string
	}{
		"second":                       {log, []string{"monitor"}},
		"monitor":                      {"garbage", []string{"", "monitor\n"}},
		"the runtime printed no error": {"", nil},
	} {
		if got := Message(c.log, c.output...); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzStartFault(f *testing.F) {
	f.Add("foo", "executable file `foo` not found", "{}")
	f.Fuzz(func(t *testing.T, command, output, log string) {
		err := StartFault("container c1", &specs.Process{Args: []string{command}}, Message(log, output))
		if err == nil || !strings.HasPrefix(err.Error(), "container c1: ") {
			t.Errorf("%v", err)
		}
	})
}
