package laws_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// convertRules returns the rules about conversions of protobuf messages. They apply to the packages
// in, where sourceRules apply to all.
func convertRules() []struct {
	in []string
	sourceRule
} {
	type rule = struct {
		in []string
		sourceRule
	}
	return []rule{
		{[]string{"services/*/internal/api", "services/*/internal/protoconv", "proto/port/portpb"}, sourceRule{
			name: "conversions are named XFromProto and XToProto", find: findConversions,
			but:    []string{"services/netagent/internal/api"}, // follows with the division of networks
			reason: "a reader finds both directions of a message by one name, and handlers stay free of fields",
			caught: "package p\nfunc networkOut(n Network) *natv1.Network { return nil }",
		}},
		{[]string{"..."}, sourceRule{
			name: "messages of ports are created in portpb only", find: findPortMessages,
			but:    []string{"proto/port/portpb", "proto/gen/..."},
			reason: "there is one model of ports, and one place that checks their ranges",
			caught: "package p\nvar m = &natv1.PortMapping{HostPort: 80}",
		}},
	}
}

// findConversions returns the functions that convert messages and have another name. A conversion
// has a message, or a list of messages, as its first parameter or result.
func findConversions(f *ast.File) []ast.Node {
	var found []ast.Node
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || strings.HasSuffix(fn.Name.Name, "FromProto") ||
			strings.HasSuffix(fn.Name.Name, "ToProto") {
			continue
		}
		for _, list := range []*ast.FieldList{fn.Type.Params, fn.Type.Results} {
			if list != nil && slices.ContainsFunc(list.List, func(p *ast.Field) bool { return isMessage(p.Type) }) {
				found = append(found, fn)
				break
			}
		}
	}
	return found
}

// isMessage reports whether a type is a pointer to a message, or a list of them.
func isMessage(e ast.Expr) bool {
	if list, ok := e.(*ast.ArrayType); ok {
		e = list.Elt
	}
	star, ok := e.(*ast.StarExpr)
	if !ok {
		return false
	}
	from, _, _ := strings.Cut(typeName(star), ".")
	return strings.HasSuffix(from, "v1")
}

// findPortMessages returns the literals of port messages.
func findPortMessages(f *ast.File) []ast.Node {
	var found []ast.Node
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.CompositeLit); ok {
			switch typeName(lit.Type) {
			case "natv1.PortMapping", "natv1.PortBinding", "natv1.AddressMapping", "containerv1.ExposedPort":
				found = append(found, lit)
			}
		}
		return true
	})
	return found
}

func TestConvertRulesKept(t *testing.T) {
	for _, p := range load(t).own() {
		fset := token.NewFileSet()
		for _, r := range convertRules() {
			if !matchAny(r.in, p.ImportPath) || matchAny(r.but, p.ImportPath) {
				continue
			}
			for _, name := range p.GoFiles {
				for _, n := range r.find(parse(t, fset, p.Dir, name, parser.SkipObjectResolution)) {
					t.Errorf("%s/%s:%d\n\trule: %s\n\treason: %s", p.ImportPath, name, fset.Position(n.Pos()).Line,
						r.name, r.reason)
				}
			}
		}
	}
}

func TestConvertRulesCatchTheirExamples(t *testing.T) {
	const innocent = `package p
func networkToProto(n Network) *natv1.FirewallNetwork { return nil }
func networksFromProto(all []*natv1.FirewallNetwork) []Network { return nil }
func newProgress(steps bool, send func(*containerv1.Progress) error) *progress { return nil }
func follow(stream grpc.BidiStreamingServer[natv1.A, natv1.B], s *session) {}
func (s *server) Publish(req *natv1.PublishRequest) (*natv1.PublishResponse, error) { return nil, nil }
var m = natv1.PublishRequest{}
`
	for _, r := range convertRules() {
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
