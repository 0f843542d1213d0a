package command_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/ctl/internal/missing"
)

func TestMissingCommandsAndFlags(t *testing.T) {
	checkAll(t, []row{
		{args: "image build x", code: 1,
			stderr: "fairlead: docker build is not supported; instead: build with buildah, or docker build and " +
				"docker save, then: fairlead load -i FILE\n"},
		{args: "help manifest", code: 1,
			stderr: "fairlead: docker manifest is not supported; instead: inspect manifests in the registry with " +
				"skopeo inspect --raw docker://IMAGE\n"},
		{args: "system dial-stdio -f x", code: 1, stderr: "fairlead: docker system dial-stdio is not supported; " +
			"instead: forward the socket: ssh -L /tmp/f.sock:/run/fairlead/fairlead.sock HOST, then " +
			"fairlead -H unix:///tmp/f.sock\n"},
		{args: "swarm init --x", code: 1,
			stderr: "fairlead: docker swarm is not supported; Fairlead manages one host and has no Swarm mode\n"},
		{args: "run --zzzzzz x", code: 125, stderr: "fairlead: unknown flag: --zzzzzz; see 'fairlead run --help'\n"},
		{args: "-l debug ps", code: 125,
			stderr: "fairlead: docker -l is not supported; instead: use -D to print each launch step; " +
				"fairlead-agent --log-level sets the agent's level\n"},
		{args: "-z ps", code: 125, stderr: "fairlead: unknown shorthand flag: 'z' in -z; see 'fairlead --help'\n"},
	})
}

// Each entry must be reported as missing. The entry of an implemented command or flag must be
// deleted.
func TestMissingTableHasNoImplementedEntry(t *testing.T) {
	for _, verb := range missing.Verbs() {
		if got := execute(t, row{args: verb + " --some-flag x"}); !strings.Contains(got.stderr,
			"docker "+verb+" is not supported; ") {
			t.Errorf("fairlead %s exists or is not found: remove its line in ctl/internal/missing/table.go. It "+
				"printed %q", verb, got.stderr)
		}
	}

	for _, f := range missing.Flags() {
		command, dash := f[0], "--"
		if len(f[1]) == 1 {
			dash = "-"
		}
		if got := execute(t, row{args: command + " " + dash + f[1]}); !strings.Contains(got.stderr,
			dash+f[1]+" is not supported; ") {
			t.Errorf("fairlead %s %s%s exists or is not found: remove it in ctl/internal/missing/table.go. It "+
				"printed %q", command, dash, f[1], got.stderr)
		}
	}
}

func TestHelpShorthand(t *testing.T) {
	for _, args := range []string{"-h", "ps -h", "network ls -h", "container -h"} {
		if got := execute(t, row{args: args}); got.code != 0 || !strings.Contains(got.stdout, "Usage:  fairlead") ||
			got.stderr != "" {
			t.Errorf("%s: code %d\n%s%s", args, got.code, got.stdout, got.stderr)
		}
	}
}
