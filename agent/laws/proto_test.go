package laws_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// protoDir has the .proto files.
const protoDir = "../../proto/fairlead"

// protoPackage is a proto package with the declarations of all of its files.
type protoPackage struct {
	name, comment string
	declarations  []*protoDeclaration
}

// protoDeclaration is a service, message or enum, or a part of one.
type protoDeclaration struct {
	kind     string // service, message, enum, oneof, rpc; empty for fields and values
	name     string
	text     string // the declaration without comment, body and semicolon
	comment  string
	options  []string // of an RPC
	children []*protoDeclaration
}

// loadProto returns the proto packages, sorted by name.
func loadProto(t *testing.T) []*protoPackage {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(protoDir, "*", "v*", "*.proto"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d .proto files, %v", len(files), err)
	}

	var all []*protoPackage
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p := parseProto(string(data))
		if i := slices.IndexFunc(all, func(o *protoPackage) bool { return o.name == p.name }); i >= 0 {
			all[i].comment += p.comment
			all[i].declarations = append(all[i].declarations, p.declarations...)
			continue
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *protoPackage) int { return strings.Compare(a.name, b.name) })
	return all
}

// parseProto parses a file in the format of buf: comments precede declarations, and a line has at
// most one declaration.
func parseProto(text string) *protoPackage {
	p := &protoPackage{}
	top := &protoDeclaration{}
	scope := []*protoDeclaration{top}
	var comment []string
	statement := ""
	for line := range strings.Lines(text) {
		line, remark, commented := strings.Cut(strings.TrimSpace(line), "//")
		if commented && line == "" {
			comment = append(comment, strings.TrimSpace(remark))
			continue
		}
		if statement = strings.TrimSpace(statement + " " + strings.TrimSpace(line)); statement == "" {
			comment = nil // separated from the next declaration
			continue
		}

		in := scope[len(scope)-1]
		end := statement[len(statement)-1]
		switch {
		case strings.HasPrefix(statement, "}"):
			scope = scope[:len(scope)-1]
		case strings.HasPrefix(statement, "package "):
			p.name, p.comment = strings.TrimSuffix(statement[len("package "):], ";"), strings.Join(comment, "\n")
		case end == ';' && strings.HasPrefix(statement, "option "):
			in.options = append(in.options, statement)
		case end == ';' && in == top: // syntax and imports
		case end == ';' || end == '{' || end == '}':
			d := newDeclaration(statement, strings.Join(comment, "\n"))
			in.children = append(in.children, d)
			if end == '{' {
				scope = append(scope, d)
			}
		default:
			continue // goes on in the next line
		}
		statement, comment = "", nil
	}

	p.declarations = top.children
	return p
}

// newDeclaration parses a statement with its end.
func newDeclaration(statement, comment string) *protoDeclaration {
	text := strings.TrimSpace(strings.TrimRight(statement, ";{} "))
	d := &protoDeclaration{text: space.ReplaceAllString(text, " "), comment: comment}
	words := strings.Fields(text)
	switch words[0] {
	case "service", "message", "enum", "oneof", "extend", "rpc":
		d.kind = words[0]
		d.name, _, _ = strings.Cut(words[1], "(")
	default:
		d.name, _, _ = strings.Cut(text, " =")
		d.name = d.name[strings.LastIndex(d.name, " ")+1:]
	}
	return d
}

// lines returns the declaration and its parts for the golden file, one a line. Fields of a oneof
// belong to the message.
func (d *protoDeclaration) lines(in string) (lines []string) {
	switch d.kind {
	case "service", "message", "enum", "extend":
		in += "." + d.name
		lines = append(lines, in)
	case "oneof":
	default:
		lines = append(lines, in+": "+d.text)
	}
	for _, child := range d.children {
		lines = append(lines, child.lines(in)...)
	}
	return lines
}

func TestParseProto(t *testing.T) {
	const text = `syntax = "proto3";

// Package fairlead.nat.v1 is an example.
package fairlead.nat.v1;

import "a.proto";

// NatService is a service.
service NatService {
  // Put puts.
  // Twice.
  rpc Put(PutRequest) returns (PutResponse) {
    option (fairlead.auth.v1.role) = ROLE_SERVICE;
  }
  rpc Long(LongRequest)
      returns (stream LongResponse);
}
message PutResponse {}
message PutRequest {
  // No comment of the field.

  string id = 1; // an ID
  oneof event {
    bool on = 2;
  }
  reserved 3;
  map<string, string> labels = 4;
}
enum Protocol {
  PROTOCOL_UNSPECIFIED = 0;
}
`
	p := parseProto(text)
	var got []string
	for _, d := range p.declarations {
		got = append(got, d.lines(p.name)...)
	}
	want := []string{
		"fairlead.nat.v1.NatService",
		"fairlead.nat.v1.NatService: rpc Put(PutRequest) returns (PutResponse)",
		"fairlead.nat.v1.NatService: rpc Long(LongRequest) returns (stream LongResponse)",
		"fairlead.nat.v1.PutResponse",
		"fairlead.nat.v1.PutRequest",
		"fairlead.nat.v1.PutRequest: string id = 1",
		"fairlead.nat.v1.PutRequest: bool on = 2",
		"fairlead.nat.v1.PutRequest: reserved 3",
		"fairlead.nat.v1.PutRequest: map<string, string> labels = 4",
		"fairlead.nat.v1.Protocol",
		"fairlead.nat.v1.Protocol: PROTOCOL_UNSPECIFIED = 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}

	put := p.declarations[0].children[0]
	if p.comment != "Package fairlead.nat.v1 is an example." || put.comment != "Put puts.\nTwice." ||
		len(put.options) != 1 || put.name != "Put" || p.declarations[2].children[0].comment != "" ||
		p.declarations[2].children[3].name != "labels" {
		t.Errorf("got %+v, %+v", p, put)
	}
}
