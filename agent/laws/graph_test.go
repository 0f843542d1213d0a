package laws_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// module is the import path prefix of the packages of Fairlead. All names below omit it, as in
// "services/netagent/internal/ipam".
const module = "github.com/fairlead/fairlead/"

// roots lists the top-level directories of the module.
var roots = []string{"agent", "ctl", "deploy", "proto", "services"}

// pkg is a package in the output of "go list".
type pkg struct {
	Dir          string
	ImportPath   string
	Name         string
	GoFiles      []string
	CgoFiles     []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// graph holds the packages of the module and all their dependencies, by import path.
type graph map[string]*pkg

// load returns the packages of the module with their dependencies. Packages that do not compile are
// included.
func load(t *testing.T) graph {
	t.Helper()

	fields := "-json=Dir,ImportPath,Name,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports"
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", fields, module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}

	g := graph{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		p := new(pkg)
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = short(p.ImportPath)
		for _, list := range [][]string{p.Imports, p.TestImports, p.XTestImports} {
			for i := range list {
				list[i] = short(list[i])
			}
		}
		g[p.ImportPath] = p
	}

	if len(g.own()) < 10 {
		t.Fatalf("got %d packages of the module, want at least 10", len(g.own()))
	}

	return g
}

// short removes the module prefix from an import path.
func short(importPath string) string { return strings.TrimPrefix(importPath, module) }

// own returns the packages of the module that contain code, sorted by import path.
func (g graph) own() []*pkg {
	var all []*pkg
	for name, p := range g {
		if isOwn(name) && p.Name != "" {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *pkg) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	return all
}

// isOwn reports whether name is a package of the module.
func isOwn(name string) bool { return slices.Contains(roots, first(name)) }

// isStandard reports whether a package is in the standard library. Its paths have no dot before the
// first slash.
func isStandard(name string) bool { return !isOwn(name) && !strings.Contains(first(name), ".") }

// first returns the first element of an import path.
func first(name string) string {
	head, _, _ := strings.Cut(name, "/")
	return head
}

// match reports whether a package matches a pattern. Each element is a pattern of path.Match. The
// suffix "/..." matches the package and all packages below it.
func match(pattern, name string) bool {
	if pattern == "..." {
		return true
	}
	base, below := strings.CutSuffix(pattern, "/...")
	elements := strings.Split(name, "/")
	if depth := strings.Count(base, "/") + 1; below && len(elements) > depth {
		elements = elements[:depth]
	}
	ok, err := path.Match(base, strings.Join(elements, "/"))
	return ok && err == nil
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"...", "a/b", true},
		{"services/*/internal/api", "services/netagent/internal/api", true},
		{"services/*/internal/api", "services/netagent/internal/api/v2", false},
		{"services/*/internal/api/...", "services/netagent/internal/api/v2", true},
		{"services/*/internal/api/...", "services/netagent/internal/api", true},
		{"services/...", "servicesx", false},
		{"agent/state", "agent/state", true},
		{"agent/state", "agent/statement", false},
		{"google.golang.org/grpc/...", "google.golang.org/grpc/codes", true},
		{"google.golang.org/grpc/...", "google.golang.org/protobuf", false},
	} {
		if got := match(c.pattern, c.name); got != c.want {
			t.Errorf("match(%q, %q): got %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
}
