package laws_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// wordRules lists expressions that the code base does not use. Each line is a regular expression, its
// scopes, and the words to use instead. Scope C is comments and documents, S is string literals, and
// I is identifiers split into lower-case words.
const wordRules = `
\b[Tt]ells? (whether|if)\b  C  reports whether
\b([Tt]ell|tells|told|telling)\b  CSI  report, return, log, emit
\b(lead|leads|led)\b  CSI  route, forward, DNAT, point to
\b([SsNnAaEe](ome|o|ny|very)body|[Ww]ho(m)?ever)\b  CSI  the actor's name
\b(of|by|from|that|what|which|for|to|than) others\b  CS  of other programs, of the DHCP server
^\w+ (gives|answers)\b  C  returns
^\w+ (is|are) (what|who|whoever|where|how|why|when|whose)\b  C  a noun phrase
\bwho (has|have|asks|reaches|holds|wants|gets|comes)\b  CS  the owner, client, holder
\bcarr(y|ies|ied)\b  CSI  run, host, send
\b[Ss]ettl(e|es|ed|ing)\b  CSI  resolve, complete, debounce
\b(bury|buried|graveyard|dying)\b  CSI  delete, pending
\b(bells?|rings?|rung)\b  CI  notifier, notify
\b[Ss]tor(y|ies)\b  CSI  script
\b(rooms?|the house)\b  CSI  package; space, grow limit
\bdoors?\b  CSI  the only package that uses X
\bto be had\b  CS  supported, available
\bby number\b  CS  static address
\b([Hh]as|[Hh]ave|[Ll]ets?) (the|a|an|its|their|all|each|no) (\w+ )?(be|follow|forget|get|come|go)\b  CS  makes, asks
\b([Hh]as|[Hh]ave|[Ll]ets?) (the|a|an|its|their|all|each|no) (\w+ )?(know|publish|begin|send|run|stop)\b  CS  makes
\b([Hh]as|[Hh]ave|[Ll]ets?) (the|a|an|its|their|all|each|no) (\w+ )?(leave|answer|ask|serve)\b  CS  makes, asks
\b(puts?|makes?|made|set) (it |them |all |everything )?right\b|\bmend(s|ed|ing)?\b  CSI  reconcile, repair
\banew\b  CS  again, recreate
\b[Ff]olders?\b  CSI  directory
\bours\b  CSI  our own, managed by Fairlead
\b(give|gives|given|giving|gave) (it |them |all )?back\b  CSI  release
\blet(s|ting)? go( of)?\b  CSI  close, release
\bshall\b  C  must, will
\b[Pp]lug(s|ged|ging)?\b  CSI  attach, connect
\b[Bb]eside\b  CSI  besides, next to, in addition to
\b([Ss]peaks?|spoken|[Tt]alks?|talked)\b  CSI  implements, connects to, uses
\b([Hh]ears?|heard)\b  CSI  receive, watch
\b[Aa]t once\b  CSI  immediately; concurrently
\b(but for|[Ii]n the place of)\b  CS  except; instead of
\b(becomes?|came|comes?) of\b  CS  result, outcome
(%[qsdv]|\b[Ii]t|\b[Tt]hat|\bwhich|\bone) (is|are|was) (no|none)\b  CS  is not a valid X
\bmakers?\b  CS  creator, user
\b[Ff]urther (name|address|port|process)(s|es)?\b  CS  additional
\b(takes?|taken|took|taking) (it |them )?(off|away)\b  CS  remove
\bpatience\b  CI  timeout
\baskers?\b  CSI  client, caller
\b(astray|misled|strangers?|meddling|hearsay|deaf|ghosts?|voices?|citizens?|clothes|swarms)\b  CSI  plain word
\b(side by side|one after the other|[Aa]s a rule)\b  CS  concurrently, sequentially, usually
\b(all the same|under way|on (its|their) way)\b  CS  anyway, pending
`

// wordExceptions lists permitted uses: the Unix user nobody, arithmetic, texts of Docker, and this file.
var wordExceptions = []struct{ file, text string }{
	{"agent/laws/language_test.go", ""},
	{"", "nobody:"}, {"", `"nobody"`}, {"", "user nobody"},
	{"agent/internal/holder/privileges.go", "nobody"},
	{"*/renumber.go", "carry"},
	{"", "start and attach multiple containers at once"}, // Docker's wording
}

// unconverted lists the paths that the rules do not apply to yet.
var unconverted []string

type wordRule struct {
	expression *regexp.Regexp
	scopes     string
	use        string
}

func parseWordRules(t *testing.T) []wordRule {
	t.Helper()

	var rules []wordRule
	for line := range strings.Lines(strings.TrimSpace(wordRules)) {
		parts := strings.Split(strings.TrimSpace(line), "  ")
		if len(parts) != 3 {
			t.Fatalf("word rule %q has %d parts, want 3", line, len(parts))
		}
		rules = append(rules, wordRule{regexp.MustCompile(parts[0]), parts[1], parts[2]})
	}

	return rules
}

// span is a piece of text that the rules apply to.
type span struct {
	scope byte
	text  string
	line  int
}

func excepted(file, text string) bool {
	for _, e := range wordExceptions {
		if (e.file == "" || match(e.file, file)) && strings.Contains(text, e.text) {
			return true
		}
	}
	return false
}

// find returns a message for each rule that a span breaks.
func (r wordRule) find(file string, spans []span) []string {
	var found []string
	for _, s := range spans {
		if strings.IndexByte(r.scopes, s.scope) < 0 {
			continue
		}
		if m := r.expression.FindString(s.text); m != "" && !excepted(file, s.text) {
			found = append(found, fmt.Sprintf("%s:%d: %q: write %s", file, s.line, m, r.use))
		}
	}
	return found
}

// goSpans returns the comments, strings and declared identifiers of a Go file.
func goSpans(fset *token.FileSet, f *ast.File) []span {
	var spans []span
	at := func(n ast.Node) int { return fset.Position(n.Pos()).Line }
	for _, g := range f.Comments {
		spans = append(spans, span{'C', strings.ReplaceAll(strings.TrimSpace(g.Text()), "\n", " "), at(g)})
	}

	seen := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				spans = append(spans, span{'S', n.Value, at(n)})
			}
		case *ast.Ident:
			if words := splitIdentifier(n.Name); !seen[words] {
				seen[words] = true
				spans = append(spans, span{'I', words, at(n)})
			}
		}
		return true
	})

	return spans
}

// splitIdentifier returns the words of an identifier: "tell names" for "tellNames".
func splitIdentifier(name string) string {
	var b strings.Builder
	for i, r := range name {
		if r == '_' || i > 0 && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		if r != '_' {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// textSpans returns the lines of a document, or the comment lines of a script.
func textSpans(name, text string) []span {
	var spans []span
	prefix := ""
	switch filepath.Ext(name) {
	case ".md":
	case ".proto", ".json":
		prefix = "//"
	default:
		prefix = "#"
	}

	fenced := false
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		line = strings.TrimSpace(line)
		if prefix != "" {
			var is bool
			if line, is = strings.CutPrefix(line, prefix); !is {
				continue
			}
		}
		if !fenced {
			spans = append(spans, span{'C', strings.TrimSpace(line), i + 1})
		}
	}

	return spans
}

// repositoryFiles returns the tracked and new files, relative to the repository.
func repositoryFiles(t *testing.T) []string {
	t.Helper()

	cmd := exec.CommandContext(t.Context(), "git", "-C", "../..", "ls-files", "--cached", "--others",
		"--exclude-standard")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}

	return strings.Fields(string(out))
}

func isText(name string) bool {
	switch filepath.Ext(name) {
	case ".md", ".proto", ".sh", ".txtar", ".json", ".service", ".target", ".yaml":
		return true
	}
	return filepath.Base(name) == "Makefile"
}

func TestLanguageIsPlain(t *testing.T) {
	rules := parseWordRules(t)
	for _, name := range repositoryFiles(t) {
		if matchAny(unconverted, filepath.ToSlash(filepath.Dir(name))) || matchAny(unconverted, name) ||
			strings.HasPrefix(name, "proto/gen/") {
			continue
		}
		for _, m := range languageFaults(t, rules, name) {
			t.Error(m)
		}
	}
}

// languageFaults returns the messages for one file.
func languageFaults(t *testing.T, rules []wordRule, name string) []string {
	t.Helper()

	var spans []span
	var found []string
	path := filepath.Join("../..", name)
	switch {
	case filepath.Ext(name) == ".go":
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		spans = goSpans(fset, f)
		found = append(found, docFaults(fset, name, f)...)
		found = append(found, longLines(t, path, name)...)
	case isText(name):
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		spans = textSpans(name, string(text))
	}

	for _, r := range rules {
		found = append(found, r.find(name, spans)...)
	}

	return found
}

func longLines(t *testing.T, path, name string) []string {
	t.Helper()

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for i, line := range strings.Split(string(text), "\n") {
		if width := len([]rune(strings.ReplaceAll(line, "\t", "    "))); width > 120 && !strings.Contains(line, "`") {
			found = append(found, fmt.Sprintf("%s:%d: got a line of %d columns, want at most 120", name, i+1, width))
		}
	}

	return found
}

// docFaults returns a message for each doc comment that does not start with the name, and for each
// exported predicate without "reports whether".
func docFaults(fset *token.FileSet, name string, f *ast.File) []string {
	if strings.HasSuffix(name, "_test.go") {
		return nil
	}

	var found []string
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Doc == nil {
			continue
		}
		doc := strings.TrimSpace(fn.Doc.Text())
		line := fset.Position(fn.Pos()).Line
		if !strings.HasPrefix(doc, fn.Name.Name+" ") {
			found = append(found, fmt.Sprintf("%s:%d: the comment of %s must start with its name",
				name, line, fn.Name.Name))
		}
		if fn.Name.IsExported() && returnsOneBool(fn) && !strings.Contains(doc, "reports whether") {
			found = append(found, fmt.Sprintf("%s:%d: the comment of %s must contain \"reports whether\"",
				name, line, fn.Name.Name))
		}
	}

	return found
}

func returnsOneBool(fn *ast.FuncDecl) bool {
	r := fn.Type.Results
	if r == nil || len(r.List) != 1 || len(r.List[0].Names) > 1 {
		return false
	}
	id, ok := r.List[0].Type.(*ast.Ident)
	return ok && id.Name == "bool"
}

func TestWordRules(t *testing.T) {
	rules := parseWordRules(t)
	for text, want := range map[string]int{
		"// Has tells whether it is there.":         2,
		"// Names has no dialect.":                  0,
		"// give them back to the pool, at once":    2,
		"// The user nobody: owns the file.":        0,
		"// Ports is what others publish beside it": 3,
	} {
		got := 0
		for _, r := range rules {
			got += len(r.find("x/y.go", []span{{'C', strings.TrimPrefix(text, "// "), 1}}))
		}
		if got != want {
			t.Errorf("%s: got %d findings, want %d", text, got, want)
		}
	}
	if got := splitIdentifier("tellNames"); got != "tell names" {
		t.Errorf("got %q, want the words", got)
	}
}
