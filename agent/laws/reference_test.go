package laws_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

const referencePage = "../../docs/reference/grpc.md"

func TestGRPCReferenceIsCurrent(t *testing.T) {
	want := grpcReference(loadProto(t))
	if *update {
		if err := os.WriteFile(referencePage, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date; run: make docs", referencePage)
	}
}

// page writes the reference.
type page struct {
	bytes.Buffer
	packages []*protoPackage
}

// grpcReference returns the page: the services with their RPCs, then the messages of each package.
func grpcReference(packages []*protoPackage) []byte {
	p := &page{packages: packages}
	p.WriteString("# gRPC reference\n\n`make docs` generates this page from the `.proto` files. " +
		"[Use the API](../api.md) has examples.\n\nAdministrators are root, the agent's own user, members of the " +
		"socket's group, and clients with a certificate.\nThe agent refuses RPCs for its services from all other " +
		"clients.\n")
	for _, in := range packages {
		p.writePackage(in)
	}
	return p.Bytes()
}

func (p *page) writePackage(in *protoPackage) {
	fmt.Fprintf(p, "\n## %s\n", in.name)
	p.paragraph(in.comment)
	for _, d := range in.declarations {
		if d.kind != "service" {
			continue
		}
		fmt.Fprintf(p, "\n### %s\n", heading(in, d))
		p.paragraph(d.comment)
		for _, rpc := range d.children {
			p.writeRPC(in, d, rpc)
		}
	}
	for _, d := range in.declarations {
		switch d.kind {
		case "message":
			fmt.Fprintf(p, "\n### %s\n", heading(in, d))
			p.paragraph(d.comment)
			p.writeFields(in, d)
		case "enum":
			fmt.Fprintf(p, "\n### %s\n", heading(in, d))
			p.paragraph(d.comment)
			p.writeValues(d)
		}
	}
}

// heading returns the name of a declaration, which is unique on the page.
func heading(in *protoPackage, d *protoDeclaration) string {
	return strings.TrimPrefix(in.name, "fairlead.") + "." + d.name
}

func (p *page) paragraph(text string) {
	if text != "" {
		fmt.Fprintf(p, "\n%s\n", escape(text))
	}
}

// signature matches the types of an RPC.
var signature = regexp.MustCompile(`\((stream )?([\w.]+)\) returns \((stream )?([\w.]+)\)`)

func (p *page) writeRPC(in *protoPackage, service, rpc *protoDeclaration) {
	fmt.Fprintf(p, "\n#### %s.%s\n", service.name, rpc.name)
	if m := signature.FindStringSubmatch(rpc.text); m != nil {
		fmt.Fprintf(p, "\n%s%s returns %s%s. ", m[1], p.link(in, m[2]), m[3], p.link(in, m[4]))
	}
	p.WriteString(roleOf(rpc) + "\n")
	p.paragraph(rpc.comment)
}

// roleOf returns a sentence about the clients that may call an RPC.
func roleOf(rpc *protoDeclaration) string {
	if strings.Contains(strings.Join(rpc.options, " "), "= ROLE_ADMINISTRATOR") {
		return "For administrators."
	}
	return "For the agent's services."
}

// field matches a field: its type, name and number.
var field = regexp.MustCompile(`^(repeated |optional )?(map<[^>]*>|[\w.]+) (\w+) = (\d+)`)

func (p *page) writeFields(in *protoPackage, message *protoDeclaration) {
	var rows []string
	var add func(d *protoDeclaration, of string)
	add = func(d *protoDeclaration, of string) {
		for _, c := range d.children {
			if c.kind == "oneof" {
				add(c, "One of `"+c.name+"`. ")
				continue
			}
			m := field.FindStringSubmatch(c.text)
			if m == nil {
				continue // reserved
			}
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s%s | %s%s |", m[3], m[4], m[1], p.link(in, m[2]), of,
				cell(c.comment)))
		}
	}
	add(message, "")
	if len(rows) > 0 {
		fmt.Fprintf(p, "\n| field | number | type | description |\n|---|---|---|---|\n%s\n", strings.Join(rows, "\n"))
	}
}

func (p *page) writeValues(enum *protoDeclaration) {
	p.WriteString("\n| value | number | description |\n|---|---|---|\n")
	for _, v := range enum.children {
		_, number, _ := strings.Cut(v.text, "= ")
		fmt.Fprintf(p, "| `%s` | %s | %s |\n", v.name, number, cell(v.comment))
	}
}

// link returns a type with a link to its section, if it is on the page.
func (p *page) link(in *protoPackage, name string) string {
	full := name
	if !strings.Contains(name, ".") {
		full = in.name + "." + name
	}
	for _, o := range p.packages {
		for _, d := range o.declarations {
			if o.name+"."+d.name == full {
				anchor := strings.ToLower(strings.ReplaceAll(heading(o, d), ".", ""))
				return fmt.Sprintf("[%s](#%s)", strings.TrimPrefix(name, "fairlead."), anchor)
			}
		}
	}
	return "`" + name + "`"
}

// cell returns text for a table.
func cell(text string) string {
	return strings.ReplaceAll(escape(strings.ReplaceAll(text, "\n", " ")), "|", "\\|")
}

// escape returns text without HTML tags and links.
func escape(text string) string {
	return strings.NewReplacer("<", "&lt;", "[", "\\[", "]", "\\]", "*", "\\*").Replace(text)
}
