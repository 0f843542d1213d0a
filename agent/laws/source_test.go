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

// sourceRule is a rule about the source of packages.
type sourceRule struct {
	name   string
	reason string
	but    []string                     // packages that the rule does not apply to
	find   func(f *ast.File) []ast.Node // returns the nodes of a file that break the rule

	caught string // source that breaks the rule once, to test it
}

// sourceRules returns all source rules.
func sourceRules() []sourceRule {
	return []sourceRule{{
		name: "no func init", find: findInit,
		reason: "code that runs at import cannot be configured, ordered or tested; use New or a table",
		caught: "package p\nfunc init() {}",
	}, {
		name: "no package-level state", find: findState,
		reason: "tests run several agents in one process, which must not share state",
		caught: "package p\nimport \"sync\"\nvar mu sync.Mutex",
	}, {
		name: "the context comes first", find: findLateContext,
		reason: "readers expect it there, as in the standard library",
		caught: "package p\nimport \"context\"\nfunc F(n int, ctx context.Context) {}",
	}, {
		name: "netip, not net.IP", find: findOldIP,
		but: []string{
			"services/*/internal/kernel", "services/netagent/internal/dhcp", "services/natagent/internal/conntrack",
			"services/natagent/internal/firewall/*", "agent/test/testns", "ctl/internal/cni",
			"services/netagent/internal/wireguard",
		},
		reason: "a netip.Addr is comparable and can be a map key; only callers of libraries with net.IP convert",
		caught: "package p\nimport \"net\"\nvar loopback = net.ParseIP(\"::1\")",
	}}
}

// findInit returns the functions that run at import.
func findInit(f *ast.File) []ast.Node {
	var found []ast.Node
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			found = append(found, fn)
		}
	}
	return found
}

// findState returns the package-level variables that are made to change: locks, counters, channels,
// and results of make and new.
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

// holdsState reports whether a type or value is made to change.
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

// findLateContext returns the functions and interface methods with a context that is not the first
// parameter. Only a parameter of package testing can precede it.
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

// typeName returns a type or pointer type as "package.Name". It is empty for other types.
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

// findOldIP returns the uses of the address types of package net.
func findOldIP(f *ast.File) []ast.Node {
	importsNet := func(i *ast.ImportSpec) bool { return i.Path.Value == `"net"` && i.Name == nil }
	if !slices.ContainsFunc(f.Imports, importsNet) {
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

// handwritten reports whether the code of a package is not generated.
func handwritten(p *pkg) bool { return !match("proto/gen/...", p.ImportPath) }

// parse returns the syntax tree of a file. If it does not parse, the test fails and the tree is empty.
func parse(t *testing.T, fset *token.FileSet, dir, name string, mode parser.Mode) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, mode)
	if err != nil {
		t.Errorf("%v", err)
		return &ast.File{Name: ast.NewIdent("")}
	}
	return f
}

func TestSourceRulesKept(t *testing.T) {
	for _, p := range load(t).own() {
		if !handwritten(p) {
			continue
		}
		fset := token.NewFileSet()
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles) {
			f := parse(t, fset, p.Dir, name, parser.SkipObjectResolution)
			for _, r := range sourceRules() {
				if matchAny(r.but, p.ImportPath) {
					continue
				}
				for _, n := range r.find(f) {
					t.Errorf("%s/%s:%d\n\trule: %s\n\treason: %s",
						p.ImportPath, name, fset.Position(n.Pos()).Line, r.name, r.reason)
				}
			}
		}
	}
}

func TestSourceRulesCatchTheirExamples(t *testing.T) {
	const innocent = `package p
import ("context"; "errors"; "net"; "testing")
var table = map[string]int{"a": 1}
var errGone = errors.New("gone")
var hw net.HardwareAddr
func (s server) init(ctx context.Context, n int) {}
func Helper(t *testing.T, ctx context.Context) {}
`
	for _, r := range sourceRules() {
		for source, want := range map[string]int{r.caught: 1, innocent: 0} {
			f, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(r.find(f)); got != want {
				t.Errorf("%s: got %d findings, want %d, in\n%s", r.name, got, want, source)
			}
		}
	}
}

func TestPackagesHaveComments(t *testing.T) {
	for _, p := range load(t).own() {
		if !handwritten(p) {
			continue
		}
		files := slices.Concat(p.GoFiles, p.CgoFiles)
		if len(files) == 0 { // package with tests only
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
			t.Errorf("%s: %v\n\treason: new readers start with the purpose and the limits of a package",
				p.ImportPath, err)
		}
	}
}

// checkDoc returns an error unless there is one package comment, with the standard start and at
// least one sentence. directory is the last element of the import path.
func checkDoc(name, directory string, docs []string) error {
	if len(docs) != 1 {
		return fmt.Errorf("got %d package comments, want one", len(docs))
	}

	starts := []string{"Package " + name + " "}
	if name == "main" {
		starts = []string{"Command " + directory + " ", directory + " "}
	}
	if !slices.ContainsFunc(starts, func(s string) bool { return strings.HasPrefix(docs[0], s) }) {
		return fmt.Errorf("the comment does not start with %q", starts[0])
	}
	if !strings.Contains(docs[0], ".") && !strings.Contains(docs[0], ":") {
		return fmt.Errorf("the comment is not a sentence")
	}
	return nil
}

func TestCheckDoc(t *testing.T) {
	for _, c := range []struct {
		name, directory string
		docs            []string
		want            bool
	}{
		{"ipam", "ipam", []string{"Package ipam chooses addresses.\n"}, true},
		{"main", "fairlead", []string{"Command fairlead is the command line.\n"}, true},
		{"ipam", "ipam", nil, false},
		{"ipam", "ipam", []string{"Package ipam a.\n", "Package ipam b.\n"}, false},
		{"ipam", "ipam", []string{"This chooses addresses.\n"}, false},
		{"ipam", "ipam", []string{"Package ipam \n"}, false},
		{"main", "fairlead", []string{"Package main is the command line.\n"}, false},
	} {
		if err := checkDoc(c.name, c.directory, c.docs); (err == nil) != c.want {
			t.Errorf("%s %q: got error %v, want accepted %v", c.name, c.docs, err, c.want)
		}
	}
}

// emptyNames lists names that do not describe the content of a package.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "base", "manager", "misc", "shared", "lib"}

func TestPackageNamesMeaningful(t *testing.T) {
	for _, p := range load(t).own() {
		for _, element := range append(strings.Split(p.ImportPath, "/"), strings.TrimSuffix(p.Name, "_test")) {
			if slices.Contains(emptyNames, element) {
				t.Errorf("%s: %q does not describe the package\n\treason: unrelated code collects in such packages",
					p.ImportPath, element)
			}
		}
	}
}
