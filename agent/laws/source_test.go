package laws_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sourceRule is a law about what is written in a package.
type sourceRule struct {
	name   string
	reason string
	but    []string                     // packages that it does not bind
	find   func(f *ast.File) []ast.Node // what breaks it in one file

	caught string // source that breaks it once, to show that it works
}

func habits() []sourceRule {
	return []sourceRule{{
		name: "no func init", find: findInit,
		reason: "what happens at import cannot be configured, ordered or tested; say it in New or in a table",
		caught: "package p\nfunc init() {}",
	}, {
		name: "no package-level state", find: findState,
		reason: "two agents in one process, as tests and the all-in-one command have them, must not notice each other",
		caught: "package p\nimport \"sync\"\nvar mu sync.Mutex",
	}, {
		name: "the context comes first", find: findLateContext,
		reason: "it is looked for there, and a call without one is seen at once",
		caught: "package p\nimport \"context\"\nfunc F(n int, ctx context.Context) {}",
	}, {
		name: "netip, not net.IP", find: findOldIP, but: []string{"services/*/internal/kernel", "services/netagent/internal/dhcp", "services/natagent/internal/conntrack", "services/natagent/internal/firewall/*", "agent/test/testns"},
		reason: "an address is a value that can be compared and used as a key; only doors to libraries that want net.IP convert",
		caught: "package p\nimport \"net\"\nvar loopback = net.ParseIP(\"::1\")",
	}}
}

// findInit finds functions that run at import.
func findInit(f *ast.File) []ast.Node {
	var found []ast.Node
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			found = append(found, fn)
		}
	}
	return found
}

// findState finds variables of a package that only make sense if they change: locks, counters,
// channels, and what is made to be filled.
func findState(f *ast.File) []ast.Node {
	var found []ast.Node
	for _, d := range f.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			v := spec.(*ast.ValueSpec)
			if holdsState(v.Type) || slices.ContainsFunc(v.Values, holdsState) {
				found = append(found, v)
			}
		}
	}
	return found
}

func holdsState(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.ChanType:
		return true
	case *ast.StarExpr:
		return holdsState(e.X)
	case *ast.IndexExpr: // atomic.Pointer[T]
		return holdsState(e.X)
	case *ast.CompositeLit:
		return holdsState(e.Type)
	case *ast.UnaryExpr:
		return holdsState(e.X)
	case *ast.CallExpr:
		made, ok := e.Fun.(*ast.Ident)
		return ok && (made.Name == "make" || made.Name == "new")
	case *ast.SelectorExpr:
		from, ok := e.X.(*ast.Ident)
		return ok && (from.Name == "sync" || from.Name == "atomic")
	}
	return false
}

// findLateContext finds functions and methods of interfaces that take a context behind something
// else than a test.
func findLateContext(f *ast.File) []ast.Node {
	var found []ast.Node
	ast.Inspect(f, func(n ast.Node) bool {
		fn, ok := n.(*ast.FuncType)
		if !ok {
			return true
		}
		var types []string
		for _, p := range fn.Params.List {
			for range max(1, len(p.Names)) {
				types = append(types, typeName(p.Type))
			}
		}
		if at := slices.Index(types, "context.Context"); at > 0 && !strings.HasPrefix(types[0], "testing.") {
			found = append(found, fn)
		}
		return true
	})
	return found
}

// typeName is a type as "package.Name", without stars; empty for other types.
func typeName(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if sel, ok := e.(*ast.SelectorExpr); ok {
		if from, ok := sel.X.(*ast.Ident); ok {
			return from.Name + "." + sel.Sel.Name
		}
	}
	return ""
}

// findOldIP finds uses of the standard library's older address types.
func findOldIP(f *ast.File) []ast.Node {
	if !slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"net"` && i.Name == nil }) {
		return nil
	}
	var found []ast.Node
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			switch typeName(sel) {
			case "net.IP", "net.IPNet", "net.IPMask", "net.ParseIP", "net.ParseCIDR", "net.IPv4", "net.CIDRMask":
				found = append(found, sel)
			}
		}
		return true
	})
	return found
}

// ours tells whether people write a package's code.
func ours(p *pkg) bool { return !match("proto/gen/...", p.ImportPath) }

func parse(t *testing.T, fset *token.FileSet, dir, name string, mode parser.Mode) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, mode)
	if err != nil {
		t.Errorf("%v", err)
		return &ast.File{Name: ast.NewIdent("")}
	}
	return f
}

func TestTheHabitsOfTheHouseAreKept(t *testing.T) {
	for _, p := range load(t).own() {
		if !ours(p) {
			continue
		}
		fset := token.NewFileSet()
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles) {
			f := parse(t, fset, p.Dir, name, parser.SkipObjectResolution)
			for _, h := range habits() {
				if matchAny(h.but, p.ImportPath) {
					continue
				}
				for _, n := range h.find(f) {
					t.Errorf("%s/%s:%d\n\tlaw: %s\n\treason: %s", p.ImportPath, name, fset.Position(n.Pos()).Line, h.name, h.reason)
				}
			}
		}
	}
}

func TestEachHabitCatchesWhatItIsThereFor(t *testing.T) {
	const innocent = `package p
import ("context"; "errors"; "net"; "testing")
var table = map[string]int{"a": 1}
var errGone = errors.New("gone")
var hw net.HardwareAddr
func (s server) init(ctx context.Context, n int) {}
func Helper(t *testing.T, ctx context.Context) {}
`
	for _, h := range habits() {
		for source, want := range map[string]int{h.caught: 1, innocent: 0} {
			f, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(h.find(f)); got != want {
				t.Errorf("%s: %d found, want %d, in\n%s", h.name, got, want, source)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range load(t).own() {
		if !ours(p) {
			continue
		}
		files := slices.Concat(p.GoFiles, p.CgoFiles)
		if len(files) == 0 { // a package of tests only
			files = slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		}
		fset := token.NewFileSet()
		var docs []string
		for _, name := range files {
			if doc := parse(t, fset, p.Dir, name, parser.ParseComments|parser.PackageClauseOnly).Doc; doc != nil {
				docs = append(docs, doc.Text())
			}
		}
		if err := checkDoc(p.Name, path.Base(p.ImportPath), docs); err != nil {
			t.Errorf("%s: %v\n\treason: a newcomer reads it first: what the package is for, and what not", p.ImportPath, err)
		}
	}
}

// checkDoc wants one comment of at least one sentence that starts as godoc expects it.
func checkDoc(name, folder string, docs []string) error {
	if len(docs) != 1 {
		return fmt.Errorf("%d package comments, want one", len(docs))
	}
	starts := []string{"Package " + name + " "}
	if name == "main" {
		starts = []string{"Command " + folder + " ", folder + " "}
	}
	if !slices.ContainsFunc(starts, func(s string) bool { return strings.HasPrefix(docs[0], s) }) {
		return fmt.Errorf("its comment does not start with %q", starts[0])
	}
	if !strings.Contains(docs[0], ".") && !strings.Contains(docs[0], ":") {
		return fmt.Errorf("its comment is no sentence")
	}
	return nil
}

func TestADocThatSaysNothingIsCaught(t *testing.T) {
	for _, c := range []struct {
		name, folder string
		docs         []string
		want         bool
	}{
		{"ipam", "ipam", []string{"Package ipam chooses addresses.\n"}, true},
		{"main", "fairlead", []string{"Command fairlead is the command line.\n"}, true},
		{"ipam", "ipam", nil, false},
		{"ipam", "ipam", []string{"Package ipam a.\n", "Package ipam b.\n"}, false},
		{"ipam", "ipam", []string{"This chooses addresses.\n"}, false},
		{"ipam", "ipam", []string{"Package ipam \n"}, false},
		{"main", "fairlead", []string{"Package main is the command line.\n"}, false},
	} {
		if err := checkDoc(c.name, c.folder, c.docs); (err == nil) != c.want {
			t.Errorf("%s %q: %v", c.name, c.docs, err)
		}
	}
}

// emptyNames say nothing about what is in a package, and so everything ends up in it.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "base", "manager", "misc", "shared", "lib"}

func TestNoPackageHasAnEmptyName(t *testing.T) {
	for _, p := range load(t).own() {
		for _, element := range append(strings.Split(p.ImportPath, "/"), strings.TrimSuffix(p.Name, "_test")) {
			if slices.Contains(emptyNames, element) {
				t.Errorf("%s: %q is no name\n\treason: a package is named for what it gives, or it becomes the place for everything", p.ImportPath, element)
			}
		}
	}
}
