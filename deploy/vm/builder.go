package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairlead/fairlead/deploy/vm/internal/job"
)

// builder builds what the machine runs.
type builder struct{ root, cache string }

func (w builder) kernel() string { return filepath.Join(w.cache, "kernel") }

// newJob returns the common part of all jobs.
func (w builder) newJob(hostname string) (job.Job, error) {
	release, err := os.ReadFile(filepath.Join(w.kernel(), "release"))
	return job.Job{
		Hostname:  hostname,
		ModuleDir: filepath.Join(w.kernel(), "lib/modules", strings.TrimSpace(string(release))),
		Checkout:  w.root,
		Env:       environment(),
	}, err
}

// job returns the job of a machine that runs tests.
func (w builder) job(ctx context.Context, o options) (job.Job, error) {
	j, err := w.newJob("vm")
	if err != nil {
		return j, err
	}

	if o.shell != "" {
		j.Commands = []job.Command{{Dir: w.root, Args: []string{"/bin/sh", "-c", o.shell}}}
		return j, nil
	}

	bin, err := w.binaries(ctx)
	if err != nil {
		return j, err
	}

	j.Env = append(j.Env, "FAIRLEAD_BIN="+bin)
	j.Commands, err = w.tests(ctx, o)
	return j, err
}

// binaries builds the binaries for the end-to-end scripts.
func (w builder) binaries(ctx context.Context) (dir string, err error) {
	dir = filepath.Join(w.cache, "bin") + "/"
	_, err = w.goTool(ctx, "build", "-o", dir, "./ctl/cmd/fairlead", "./services/cmd/fairlead-agent",
		"./services/cmd/fairlead-store", "./ctl/cmd/fairlead-cni")
	return filepath.Clean(dir), err
}

// environment returns the environment of the machine's commands.
func environment() []string {
	env := []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"}
	for _, name := range []string{"HOME", "CI", "GOFLAGS", "GOCACHE", "GOMODCACHE", "GOPROXY", "LANG",
		"FAIRLEAD_RUNTIME"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// testPackage is a package in the output of go list.
type testPackage struct {
	Dir, ImportPath           string
	TestGoFiles, XTestGoFiles []string
}

// tests builds the test program of each package with tests.
func (w builder) tests(ctx context.Context, o options) ([]job.Command, error) {
	packages, err := w.list(ctx, o.packages)
	if err != nil {
		return nil, err
	}

	var commands []job.Command
	for _, p := range packages {
		// the name that go test gives
		program := filepath.Join(w.cache, "tests", p.ImportPath, path.Base(p.ImportPath)+".test")
		if _, err := w.goTool(ctx, "test", "-c", "-o", program, p.ImportPath); err != nil {
			return nil, err
		}
		c := job.Command{Title: p.ImportPath, Dir: p.Dir, Args: append([]string{program}, o.testFlags()...)}
		if o.json {
			if c.Args, err = w.asJSON(ctx, p, c.Args); err != nil {
				return nil, err
			}
			c.Title = ""
		}
		commands = append(commands, c)
	}

	return commands, nil
}

// testFlags set a test timeout that leaves time to print the stacks.
func (o options) testFlags() []string {
	flags := []string{"-test.timeout=" + max(o.limit-30*time.Second, o.limit/2).String()}
	if o.run != "" {
		flags = append(flags, "-test.run="+o.run)
	}
	if o.json {
		return append(flags, "-test.v=test2json")
	}
	if o.verbose {
		flags = append(flags, "-test.v")
	}
	return flags
}

func (w builder) list(ctx context.Context, patterns []string) ([]testPackage, error) {
	out, err := w.goTool(ctx, append([]string{"list", "-json=Dir,ImportPath,TestGoFiles,XTestGoFiles"}, patterns...)...)
	if err != nil {
		return nil, err
	}

	var packages []testPackage
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p testPackage
		if err := d.Decode(&p); err != nil {
			return nil, err
		}
		if len(p.TestGoFiles)+len(p.XTestGoFiles) > 0 {
			packages = append(packages, p)
		}
	}

	if len(packages) == 0 {
		return nil, fmt.Errorf("no tests in %s", strings.Join(patterns, " "))
	}

	return packages, nil
}

// asJSON passes the output of a test through Go's test2json.
func (w builder) asJSON(ctx context.Context, p testPackage, args []string) ([]string, error) {
	converter := filepath.Join(w.cache, "test2json")
	_, err := w.goTool(ctx, "build", "-o", converter, "cmd/test2json")
	return append([]string{converter, "-t", "-p", p.ImportPath}, args...), err
}

// goTool runs the go command in the project without cgo, so that binaries need no library.
func (w builder) goTool(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.root, &out, &errs
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, errs.String())
	}
	return out.Bytes(), nil
}
