package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tooHeavy lists packages that slow down the program start or do not belong in a client.
var tooHeavy = []string{
	"github.com/prometheus/", "go.opentelemetry.io/", "github.com/distribution/reference",
	"github.com/google/go-containerregistry/",
	"github.com/containerd/containerd/", "k8s.io/",
}

func TestProgramImportsNoHeavyPackages(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for p := range strings.FieldsSeq(string(out)) {
		for _, heavy := range tooHeavy {
			if strings.HasPrefix(p+"/", heavy) {
				t.Errorf("the program contains %s", p)
			}
		}
	}
}

func build(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "fairlead")
	cmd := exec.Command("go", "build", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

func TestProgramExitCode(t *testing.T) {
	bin := build(t)
	for args, want := range map[string]int{"version --client": 0, "run --nope": 125, "nope": 1} {
		cmd := exec.Command(bin, strings.Fields(args)...)
		if _ = cmd.Run(); cmd.ProcessState.ExitCode() != want {
			t.Errorf("%s: exit code %d, want %d", args, cmd.ProcessState.ExitCode(), want)
		}
	}
}

// BenchmarkStart measures the start of the program.
func BenchmarkStart(b *testing.B) {
	bin := build(b)
	for b.Loop() {
		if err := exec.Command(bin, "version", "--client").Run(); err != nil {
			b.Fatal(err)
		}
	}
}
