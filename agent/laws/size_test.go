package laws_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Limits of sizes. Tests and generated code do not count.
const (
	maxRootFiles    = 3
	maxRootLines    = 300
	maxPackageLines = 2500
	maxMethods      = 45
)

// sizeException is a package or type that exceeds a limit. It must not grow beyond its own.
type sizeException struct {
	name   string // a package, or package.Type
	limit  int
	reason string
}

// sizeExceptions lists the exceptions. A package that is divided loses its row.
func sizeExceptions() []sizeException {
	return []sizeException{
		{"services/netagent", 480, "its configuration is that of the default bridge too"},
		{"services/netagent/internal/kernel", 4080, "all netlink requests, so that one package retries dumps"},
		{"services/fleetagent/internal/fleet", 3470,
			"membership, roles, overlay and both kinds of store share the part of a host"},
		{"services/fleetagent/internal/fleet.Fleet", 60, "one method a command or a request of another service"},
		{"services/fleetagent/internal/fleet.part", 60, "the tasks of a host in a fleet; roles has its own type"},
		{"services/netagent/internal/kernel.Host", 80, "one method a netlink request"},
		{"services/supervisor/internal/launch.launch", 53, "one method a step of a launch"},
		{"services/netagent/internal/driver/macvlan.Driver", 48, "the driver interface, for macvlan and ipvlan"},
	}
}

// limitOf returns the limit of a name, or its exception.
func limitOf(name string, limit int) int {
	for _, e := range sizeExceptions() {
		if e.name == name {
			return max(limit, e.limit)
		}
	}
	return limit
}

// size holds the sizes of one package.
type size struct {
	files, lines int
	methods      map[string]int // by receiver
}

// isRoot reports whether a package is the root of a service, which only assembles.
func isRoot(name string) bool { return match("services/*", name) }

// checkSize returns one message for each limit that a package exceeds.
func checkSize(name string, s size) []string {
	var found []string
	add := func(name string, n, limit int, unit, reason string) {
		if limit = limitOf(name, limit); n > limit {
			found = append(found, fmt.Sprintf("%s has %d %s, want at most %d\n\treason: %s", name, n, unit, limit,
				reason))
		}
	}

	const roots = "the root of a service assembles it; logic is in packages below internal, with tests of its own"
	if isRoot(name) {
		add(name+" files", s.files, maxRootFiles, "files of code", roots)
		add(name, s.lines, maxRootLines, "lines of code", roots)
	}
	add(name, s.lines, max(maxPackageLines, limitOf(name, 0)), "lines of code",
		"a reader can know a package of this size; divide it by what its types hold")
	for _, receiver := range slices.Sorted(maps.Keys(s.methods)) {
		add(name+"."+receiver, s.methods[receiver], maxMethods, "methods",
			"a type with more has several tasks; give each its own type")
	}

	return found
}

// measure returns the sizes of a package.
func measure(t *testing.T, p *pkg) size {
	t.Helper()
	s := size{files: len(p.GoFiles), methods: map[string]int{}}
	fset := token.NewFileSet()
	for _, name := range p.GoFiles {
		data, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		s.lines += bytes.Count(data, []byte("\n"))
		for _, d := range parse(t, fset, p.Dir, name, parser.SkipObjectResolution).Decls {
			if receiver := receiverOf(d); receiver != "" {
				s.methods[receiver]++
			}
		}
	}
	return s
}

// receiverOf returns the type of a method. It is empty for other declarations.
func receiverOf(d ast.Decl) string {
	fn, ok := d.(*ast.FuncDecl)
	if !ok || fn.Recv == nil {
		return ""
	}
	e := fn.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// TestSizesKept also fails for exceptions that are not needed any more.
func TestSizesKept(t *testing.T) {
	sizes := map[string]int{}
	for _, p := range load(t).own() {
		if !handwritten(p) || match("deploy/...", p.ImportPath) {
			continue
		}
		s := measure(t, p)
		for _, line := range checkSize(p.ImportPath, s) {
			t.Error(line)
		}
		sizes[p.ImportPath], sizes[p.ImportPath+" files"] = s.lines, s.files
		for receiver, n := range s.methods {
			sizes[p.ImportPath+"."+receiver] = n
		}
	}

	for _, e := range sizeExceptions() {
		limit := maxPackageLines
		switch {
		case strings.HasSuffix(e.name, " files"):
			limit = maxRootFiles
		case isRoot(e.name):
			limit = maxRootLines
		case filepath.Ext(e.name) != "":
			limit = maxMethods
		}
		if sizes[e.name] <= limit {
			t.Errorf("%s is %d, within the limit of %d: delete its exception", e.name, sizes[e.name], limit)
		}
	}
}

func TestSizesCatchTheirExamples(t *testing.T) {
	for _, row := range []struct {
		name string
		size size
		want int
	}{
		{"services/natagent", size{files: 3, lines: 300}, 0},
		{"services/natagent", size{files: 4, lines: 301}, 2},
		{"services/natagent/internal/publish", size{files: 9, lines: 2500}, 0},
		{"services/natagent/internal/publish", size{lines: 2501}, 1},
		{"services/netagent/internal/kernel", size{lines: 3000, methods: map[string]int{"Host": 70}}, 0},
		{"services/netagent/internal/kernel", size{lines: 4100, methods: map[string]int{"Host": 90, "Other": 46}}, 3},
		{"agent/state", size{methods: map[string]int{"DB": 45}}, 0},
	} {
		if got := checkSize(row.name, row.size); len(got) != row.want {
			t.Errorf("%s with %+v: got %q, want %d findings", row.name, row.size, got, row.want)
		}
	}
}
