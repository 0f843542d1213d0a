package laws_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// netagentFloors lists the packages of netagent by floor. A package imports only packages of lower
// floors, so a change of one is visible only above it, and no two need each other.
var netagentFloors = [][]string{
	{"bridgenf", "cause", "dnssockets/redirect", "ipam", "kernel", "lease", "lock", "pathprobe", "portguard",
		"tunnelkey"},
	{"bootclock", "diagnose", "frame", "namespace", "network", "wireguard"},
	{"endpoint"},
	{"damage", "dhcp", "dnssockets", "driver", "store"},
	{"driver/bridge", "driver/macvlan", "encryption", "natclient"},
	{"address", "attach", "defaultnet", "hostnet"},
	{"bringup", "leases"},
	{"networks", "overlay", "renumber", "sandbox"},
	{"api", "check", "measure"},
	{""}, // the root package
}

const netagent = "services/netagent"

// floorOf returns the floor of a package of netagent. ok is false for other packages, those without
// a floor, and those for tests.
func floorOf(name string) (floor int, ok bool) {
	if name == netagent {
		return len(netagentFloors) - 1, true
	}
	inside, ok := strings.CutPrefix(name, netagent+"/internal/")
	if !ok {
		return 0, false
	}
	floor = slices.IndexFunc(netagentFloors, func(all []string) bool { return slices.Contains(all, inside) })
	return floor, floor >= 0
}

// checkFloor returns one message for each import of p that does not go down.
func checkFloor(p *pkg) []string {
	floor, ok := floorOf(p.ImportPath)
	if !ok {
		return nil
	}
	var broken []string
	for _, name := range p.Imports {
		if below, ok := floorOf(name); ok && below >= floor {
			broken = append(broken, fmt.Sprintf("%s on floor %d imports %s on floor %d", p.ImportPath, floor+1, name,
				below+1))
		}
	}
	return broken
}

func TestNetagentFloorsKept(t *testing.T) {
	for _, p := range load(t).own() {
		for _, line := range checkFloor(p) {
			t.Error(line)
		}
		if _, ok := floorOf(p.ImportPath); !ok && match(netagent+"/...", p.ImportPath) &&
			!matchAny(testPackages, p.ImportPath) {
			t.Errorf("%s has no floor in netagentFloors", p.ImportPath)
		}
	}
}

func TestNetagentFloorsCatchCycles(t *testing.T) {
	for _, c := range []struct {
		from, to string
		caught   bool
	}{
		{"services/netagent/internal/address", "services/netagent/internal/networks", true}, // growth is an interface
		{"services/netagent/internal/bringup", "services/netagent/internal/sandbox", true},
		{"services/netagent/internal/sandbox", "services/netagent/internal/networks", true}, // on the same floor
		{"services/netagent/internal/sandbox", "services/netagent/internal/address", false},
		{"services/netagent/internal/ipam", "services/netagent", true},
		{"services/netagent/internal/ipam", "agent/state", false}, // other rules
	} {
		got := checkFloor(&pkg{ImportPath: c.from, Imports: []string{"context", c.to}})
		if (len(got) > 0) != c.caught {
			t.Errorf("%s imports %s: got %v", c.from, c.to, got)
		}
	}
}

// settable returns the exported fields of the types that a New function of the package returns. They
// could be assigned from outside after New, which hides who calls whom. What New needs is in Config.
func settable(files []*ast.File) []string {
	made := map[string]bool{}
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "New") || fn.Type.Results == nil {
				continue
			}
			if star, ok := fn.Type.Results.List[0].Type.(*ast.StarExpr); ok {
				if name, ok := star.X.(*ast.Ident); ok {
					made[name.Name] = true
				}
			}
		}
	}

	var found []string
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || !made[spec.Name.Name] {
				return true
			}
			fields, ok := spec.Type.(*ast.StructType)
			for i := 0; ok && i < len(fields.Fields.List); i++ {
				for _, name := range fields.Fields.List[i].Names {
					if name.IsExported() {
						found = append(found, spec.Name.Name+"."+name.Name)
					}
				}
			}
			return true
		})
	}

	return found
}

// TestNetagentTypesAreCompleteAfterNew checks the parts of netagent that call each other. The types of
// pure packages are values.
func TestNetagentTypesAreCompleteAfterNew(t *testing.T) {
	for _, p := range load(t).own() {
		if !match(netagent+"/...", p.ImportPath) || matchAny(slices.Concat(testPackages, purePackages), p.ImportPath) {
			continue
		}
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		for _, field := range settable(files) {
			t.Errorf("%s: %s can be assigned after New; make it a field of Config", p.ImportPath, field)
		}
	}
}

func TestSettableFieldsAreCaught(t *testing.T) {
	src := "package p\ntype A struct { Grow func(); own int }\ntype B struct { Free int }\n" +
		"func NewA() *A { return nil }\n"
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := settable([]*ast.File{f}); !slices.Equal(got, []string{"A.Grow"}) {
		t.Errorf("got %v, want A.Grow", got)
	}
}
