package portrecord_test

import (
	"encoding/json"
	"testing"

	"github.com/fairlead/fairlead/agent/portrecord"
)

func TestListsUpgraded(t *testing.T) {
	for _, row := range []struct {
		name     string
		convert  func(json.RawMessage) (any, error)
		in, want string
	}{
		{"mappings", portrecord.Mappings, `[
			{"Protocol":"tcp","HostIP":"","HostPort":8080,"HostPortEnd":0,"ContainerPort":80,"ContainerPortEnd":0},
			{"Protocol":"udp","HostIP":"::ffff:10.0.0.1","HostPort":0,"HostPortEnd":0,"ContainerPort":53,
			 "ContainerPortEnd":0,"Sources":"10.0.0.0/8"},
			{"Protocol":"tcp","HostIP":"fd00::1","HostPort":8000,"HostPortEnd":8001,"ContainerPort":80,
			 "ContainerPortEnd":81},
			{"Protocol":"tcp","Host":"9000","Container":"90"}]`,
			`[{"Protocol":"tcp","Host":"8080","Container":"80"},` +
				`{"Protocol":"udp","HostIP":"10.0.0.1","Container":"53","Sources":"10.0.0.0/8"},` +
				`{"Protocol":"tcp","HostIP":"fd00::1","Host":"8000-8001","Container":"80-81"},` +
				`{"Protocol":"tcp","Host":"9000","Container":"90"}]`},
		{"addresses", portrecord.Addresses, `[{"HostIP":"::ffff:10.0.0.1","NoSNAT":true},
			{"HostIP":"fd00::1","NoSNAT":false,"Sources":""}]`,
			`[{"HostIP":"10.0.0.1","NoSNAT":true},{"HostIP":"fd00::1"}]`},
		{"exposed", portrecord.Exposed, `[{"Protocol":"tcp","Port":80,"End":0},{"Protocol":"udp","Port":1,"End":100},
			{"Protocol":"tcp","Ports":"90-99"}]`,
			`[{"Protocol":"tcp","Ports":"80"},{"Protocol":"udp","Ports":"1-100"},{"Protocol":"tcp","Ports":"90-99"}]`},
		{"bindings of natagent", portrecord.Bindings, `[
			{"Protocol":"tcp","HostIP":"0.0.0.0","HostPort":8080,"ContainerIP":"10.0.0.2","ContainerPort":80,
			 "OwnerName":"web","Sources":"10.0.0.0/8"},
			{"Protocol":"udp","HostIP":"::","HostPort":1000,"HostPortEnd":1099,"ContainerIP":"fd00::2",
			 "ContainerPort":1000},
			{"Protocol":"all","HostIP":"10.9.0.1","HostPort":0,"ContainerIP":"10.0.0.2","ContainerPort":0,"SNAT":true},
			{"Protocol":"tcp","HostIP":"10.0.0.2","HostPort":80,"HostPortEnd":180,"ContainerIP":"10.0.0.2",
			 "ContainerPort":80}]`,
			`[{"Protocol":"tcp","HostIP":"0.0.0.0","Host":"8080","ContainerIP":"10.0.0.2","Container":"80",` +
				`"OwnerName":"web","Sources":"10.0.0.0/8"},` +
				`{"Protocol":"udp","HostIP":"::","Host":"1000-1099","ContainerIP":"fd00::2","Container":"1000-1099"},` +
				`{"Protocol":"all","HostIP":"10.9.0.1","ContainerIP":"10.0.0.2","SNAT":true},` +
				`{"Protocol":"tcp","HostIP":"10.0.0.2","Host":"80-180","ContainerIP":"10.0.0.2","Container":"80-180"}]`},
		{"bindings of the supervisor", portrecord.Bindings, `[
			{"Protocol":"tcp","HostIP":"0.0.0.0","HostPort":8080,"ContainerIP":"10.0.0.2","ContainerPort":80,
			 "HostPortEnd":0,"ContainerPortEnd":0,"Outgoing":false,"Sources":""},
			{"Protocol":"udp","HostIP":"::","HostPort":0,"ContainerIP":"fd00::2","ContainerPort":5000,"HostPortEnd":0,
			 "ContainerPortEnd":5100,"Outgoing":false,"Sources":""},
			{"Protocol":"all","HostIP":"10.9.0.1","HostPort":0,"ContainerIP":"10.0.0.2","ContainerPort":0,
			 "HostPortEnd":0,"ContainerPortEnd":0,"Outgoing":true,"Sources":""},
			{"Protocol":"tcp","HostIP":"0.0.0.0","Host":"1","ContainerIP":"10.0.0.2","Container":"2"}]`,
			`[{"Protocol":"tcp","HostIP":"0.0.0.0","Host":"8080","ContainerIP":"10.0.0.2","Container":"80"},` +
				`{"Protocol":"udp","HostIP":"fd00::2","Host":"5000-5100","ContainerIP":"fd00::2",` +
				`"Container":"5000-5100"},` +
				`{"Protocol":"all","HostIP":"10.9.0.1","ContainerIP":"10.0.0.2","SNAT":true},` +
				`{"Protocol":"tcp","HostIP":"0.0.0.0","Host":"1","ContainerIP":"10.0.0.2","Container":"2"}]`},
	} {
		got, err := portrecord.Edit(json.RawMessage(`{"a":{"b":`+row.in+`},"c":1}`), row.convert, "a", "b")
		if want := `{"a":{"b":` + row.want + `},"c":1}`; err != nil || string(got) != want {
			t.Errorf("%s: got  %s, %v\nwant %s", row.name, got, err, want)
		}
		if again, err := portrecord.Edit(got, row.convert, "a", "b"); err != nil || string(again) != string(got) {
			t.Errorf("%s: a second upgrade returns %s, %v", row.name, again, err)
		}
	}
}

func TestEditKeepsOtherObjects(t *testing.T) {
	for _, object := range []string{`{}`, `{"a":null}`, `{"a":{}}`, `{"a":{"b":null}}`, `{"b":[{"HostPort":1}]}`} {
		got, err := portrecord.Edit(json.RawMessage(object), portrecord.Mappings, "a", "b")
		if err != nil || string(got) != object {
			t.Errorf("%s: got %s, %v", object, got, err)
		}
	}
	for _, object := range []string{``, `[]`, `{"a":1}`, `{"a":{"b":[{"HostPort":"x"}]}}`} {
		if got, err := portrecord.Edit(json.RawMessage(object), portrecord.Mappings, "a", "b"); err == nil {
			t.Errorf("%s: got %s, want an error", object, got)
		}
	}
}
