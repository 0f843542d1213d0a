package laws_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// promised lists the packages whose API Fairlead keeps within a major version. Their exported
// declarations are in testdata/api. The messages in proto/gen are in testdata/api/proto.txt.
var promised = []string{"proto/fault", "proto/id", "proto/port", "proto/port/portpb", "ctl/client"}

var update = flag.Bool("update", false, "write the golden files of the API")

// compare compares lines with a golden file. With -update it writes the file.
func compare(t *testing.T, file string, got []string, added bool) {
	t.Helper()
	path := filepath.Join("testdata", "api", file)
	if *update {
		text := strings.Join(got, "\n") + "\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range difference(strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"), got, added) {
		t.Errorf("%s: %s\n\treason: programs of users depend on it; if it is intended, run make docs and "+
			"describe the change in CHANGELOG.md", file, line)
	}
}

// difference returns a line for each golden line that is missing. With added, new lines count too.
func difference(golden, got []string, added bool) (out []string) {
	for _, line := range golden {
		if !slices.Contains(got, line) {
			out = append(out, "removed or changed: "+line)
		}
	}
	for _, line := range got {
		if added && !slices.Contains(golden, line) {
			out = append(out, "new: "+line)
		}
	}
	return out
}

// declarations returns the exported declarations of a package, one line each, sorted.
func declarations(t *testing.T, p *pkg) []string {
	t.Helper()
	var lines []string
	fset := token.NewFileSet()
	for _, name := range p.GoFiles {
		f := parse(t, fset, p.Dir, name, parser.SkipObjectResolution)
		if !ast.FileExports(f) {
			continue
		}
		for _, d := range f.Decls {
			lines = append(lines, declarationLines(fset, d)...)
		}
	}
	slices.Sort(lines)
	return lines
}

// space is a sequence of white space.
var space = regexp.MustCompile(`\s+`)

// declarationLines returns the lines of an exported declaration: one a function, constant, variable,
// field and method of an interface.
func declarationLines(fset *token.FileSet, d ast.Decl) (lines []string) {
	text := func(n any) string {
		var b bytes.Buffer
		_ = printer.Fprint(&b, fset, n)
		return space.ReplaceAllString(b.String(), " ")
	}

	switch d := d.(type) {
	case *ast.FuncDecl:
		if receiver := receiverOf(d); receiver != "" && !ast.IsExported(receiver) {
			return nil
		}
		d.Body = nil
		return []string{text(d)}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				lines = append(lines, d.Tok.String()+" "+text(s))
			case *ast.TypeSpec:
				lines = append(lines, typeLines(text, s)...)
			}
		}
	}

	return lines
}

// typeLines returns the lines of a type.
func typeLines(text func(any) string, s *ast.TypeSpec) (lines []string) {
	fields := func(kind string, list *ast.FieldList) []string {
		lines = append(lines, "type "+s.Name.Name+" "+kind)
		for _, f := range list.List {
			for _, name := range f.Names {
				lines = append(lines, fmt.Sprintf("type %s %s: %s %s", s.Name.Name, kind, name.Name, text(f.Type)))
			}
			if len(f.Names) == 0 {
				lines = append(lines, fmt.Sprintf("type %s %s: %s", s.Name.Name, kind, text(f.Type)))
			}
		}
		return lines
	}

	switch x := s.Type.(type) {
	case *ast.StructType:
		return fields("struct", x.Fields)
	case *ast.InterfaceType:
		return fields("interface", x.Methods)
	}
	return []string{"type " + text(s)}
}

func TestPromisedAPIKept(t *testing.T) {
	g := load(t)
	for _, name := range promised {
		p, ok := g[name]
		if !ok {
			t.Errorf("%s does not exist", name)
			continue
		}
		compare(t, strings.ReplaceAll(name, "/", "_")+".txt", declarations(t, p), true)
	}

	compare(t, "importable.txt", importable(g), true)
	compare(t, "proto.txt", protoLines(t), false)
}

// importable returns the packages that other modules can import.
func importable(g graph) (out []string) {
	for _, p := range g.own() {
		if !slices.Contains(strings.Split(p.ImportPath, "/"), "internal") && p.Name != "main" &&
			!match("deploy/...", p.ImportPath) && len(p.GoFiles) > 0 {
			out = append(out, p.ImportPath)
		}
	}
	return out
}

// protoLines returns the RPCs, messages, fields and enum values of all .proto files, one a line.
func protoLines(t *testing.T) (lines []string) {
	for _, f := range loadProto(t) {
		for _, d := range f.declarations {
			lines = append(lines, d.lines(f.name)...)
		}
	}
	slices.Sort(lines)
	return lines
}

func TestAPIDifference(t *testing.T) {
	golden, now := []string{"func A()", "func B()"}, []string{"func A(int)", "func B()", "func C()"}
	for added, want := range map[bool]int{false: 1, true: 3} {
		if got := difference(golden, now, added); len(got) != want {
			t.Errorf("with added %v: got %q, want %d", added, got, want)
		}
	}
}

func TestDeclarationLines(t *testing.T) {
	const source = `package p
// F is a function.
func F(a int) error { return nil }
func (t *T) M() {}
func (h hidden) M() {}
type T struct {
	A, B int ` + "`json:\"a\"`" + `
	c    int
}
type I interface { Close() error }
type K string
const One K = "one"
func hidden() {}
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.FileExports(f)
	var got []string
	for _, d := range f.Decls {
		got = append(got, declarationLines(fset, d)...)
	}
	want := []string{"func F(a int) error", "func (t *T) M()", "type T struct", "type T struct: A int",
		"type T struct: B int", "type I interface", "type I interface: Close func() error", "type K string",
		`const One K = "one"`}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
