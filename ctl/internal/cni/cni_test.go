package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/proto/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
)

func TestAddAndDeleteOfTwoNetworks(t *testing.T) {
	s := &services{}
	first, second := config(t, podsConfig), config(t, `{"name": "bridge", "type": "fairlead-cni"}`)
	added, err := s.plugin().Add(t.Context(), pod, first)
	if err != nil || !added.Named {
		t.Fatal(added, err)
	}
	net1 := pod
	net1.Interface = "net1"
	if _, err := s.plugin().Add(t.Context(), net1, second); err != nil {
		t.Fatal(err)
	}
	if got := s.sandbox.Endpoints[1].GetGatewayPriority(); got != -1 {
		t.Errorf("got priority %d for the second network, want -1", got)
	}
	// again, as after a lost response
	if _, err := s.plugin().Add(t.Context(), pod, first); err != nil {
		t.Fatal(err)
	}
	s.sandbox.Endpoints = s.sandbox.Endpoints[:2]
	if err := s.plugin().Delete(t.Context(), pod); err != nil || s.bindings != nil {
		t.Error(err, s.bindings)
	}
	s.sandbox.Endpoints = s.sandbox.Endpoints[1:]
	if err := s.plugin().Delete(t.Context(), net1); err != nil {
		t.Error(err)
	}
	s.sandbox = nil
	if err := s.plugin().Delete(t.Context(), net1); err != nil {
		t.Error(err)
	}

	want := []string{"create web /run/netns/one", "register back=web+store", "connect bridge", "update back=web+store",
		"connect back", "update back=web+store back=web+store", "update ", "disconnect id-back", "release", "release"}
	if diff := cmp.Diff(want, s.calls); diff != "" {
		t.Error(diff)
	}
}

func TestFailedAddLeavesNothing(t *testing.T) {
	taken := fault.New(fault.Busy, "port 0.0.0.0:8080/tcp", "port is already allocated", fault.WithHint("stop it"))
	for name, c := range map[string]struct {
		fail  map[string]error
		calls []string
	}{
		"port in use": {map[string]error{"publish": taken},
			[]string{"create web /run/netns/one", "register back=web+store", "release"}},
		"name refused": {map[string]error{"register back=web+store": taken},
			[]string{"create web /run/netns/one", "register back=web+store", "release"}},
		"no network": {map[string]error{"create web /run/netns/one": taken}, []string{"create web /run/netns/one"}},
	} {
		s := &services{fail: c.fail}
		_, err := s.plugin().Add(t.Context(), pod, config(t, podsConfig))
		want := &types.Error{Code: 100, Msg: "port 0.0.0.0:8080/tcp: port is already allocated", Details: "stop it"}
		if diff := cmp.Diff(want, Error(err)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if !slices.Equal(s.calls, c.calls) {
			t.Errorf("%s: got calls %q, want %q", name, s.calls, c.calls)
		}
	}
}

// TestRepeatedAddKeepsAttachment: the container of an attachment can run when ADD is called again.
func TestRepeatedAddKeepsAttachment(t *testing.T) {
	s := &services{}
	if _, err := s.plugin().Add(t.Context(), pod, config(t, podsConfig)); err != nil {
		t.Fatal(err)
	}
	s.fail = map[string]error{"publish": fault.New(fault.Unavailable, "natagent", "is not responding")}
	if _, err := s.plugin().Add(t.Context(), pod, config(t, podsConfig)); err == nil {
		t.Error("got no error")
	}
	if s.sandbox == nil || slices.Contains(s.calls, "release") {
		t.Errorf("the attachment was removed: calls %q", s.calls)
	}
}

func TestAddRefusesAnotherNamespace(t *testing.T) {
	s := &services{sandbox: &networkv1.Sandbox{ExternalPath: "/run/netns/old",
		Endpoints: []*networkv1.Endpoint{{InterfaceName: "net0", NetworkName: "other"}}}}
	_, err := s.plugin().Add(t.Context(), pod, config(t, podsConfig))
	if !fault.Is(err, fault.Exists) || !strings.Contains(err.Error(), "net0 in /run/netns/old; call DEL first") {
		t.Errorf("got %v", err)
	}
}

// mapping returns a configuration with one port mapping.
func mapping(text string) string {
	return `"name": "a", "runtimeConfig": {"portMappings": [{` + text + `}]}`
}

func TestConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		`"name": "a", "ipam": {}`:                                        "unknown key ipam; remove it: the network has the subnet",
		`"name": "a", "bridge": "cni0"`:                                  "unknown key bridge",
		`"type": "a"`:                                                    "has no name",
		`"name": "a", "execRoot": "run"`:                                 `execRoot "run" is not an absolute path`,
		`"name": "a", "network": 1`:                                      "cannot be parsed",
		`"name": "a", "runtimeConfig": {"bandwidth": {}}`:                "bandwidth",
		mapping(`"hostPort": 1`):                                         "port",
		mapping(`"hostPort": 65536, "containerPort": 1`):                 "got 65536",
		mapping(`"hostPort": 1, "containerPort": 1, "protocol": "icmp"`): "icmp",
		mapping(`"hostPort": 1, "containerPort": 1, "hostIP": "x"`):      `"x"`,
	} {
		if _, err := ParseConfig([]byte("{" + text + "}")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	if _, err := ParseConfig([]byte("[")); err == nil {
		t.Error("got no error for an incomplete configuration")
	}
	config(t, `{"name": "a", "cni.dev/attachments": [], "args": {}, "dns": {}}`)

	if _, err := ParseArgs("A=1;B"); err == nil {
		t.Error("got no error for CNI_ARGS without =")
	}
	for _, ips := range []string{`["x"]`, `["10.0.0.1/8", "10.0.0.2"]`} {
		c := config(t, `{"name": "a", "runtimeConfig": {"ips": `+ips+`}}`)
		if _, err := (&services{}).plugin().Add(t.Context(), pod, c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v", ips, err)
		}
	}
	chained := config(t, `{"name": "a", "prevResult": {"cniVersion": "1.0.0"}}`)
	if _, err := (&services{}).plugin().Add(t.Context(), pod, chained); !fault.Is(err, fault.Invalid) {
		t.Errorf("chained: got %v", err)
	}
}

func TestResultInEachVersion(t *testing.T) {
	a := pod
	e := &networkv1.Endpoint{InterfaceName: "eth0", HostInterface: "veth1", MacAddress: "02:00:00:00:00:01",
		Ipv4Address: "10.1.0.2/24", Ipv4Gateway: "10.1.0.1", Ipv6Address: "fd00::2/64"}
	result, err := Result(a, config(t, `{"name": "a", "dns": {"search": ["x.y"]}}`), Added{e, true})
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{
		"1.1.0": `"sandbox":"/run/netns/one"`, "0.4.0": `"version":"6"`, "0.2.0": `"ip6":{"ip":"fd00::2/64"}`,
	} {
		converted, err := result.GetAsVersion(version)
		if err != nil {
			t.Fatal(err)
		}
		var indented, text bytes.Buffer
		if err := errors.Join(converted.PrintTo(&indented), json.Compact(&text, indented.Bytes())); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), want) || !strings.Contains(text.String(), `"nameservers":["127.0.0.11"]`) {
			t.Errorf("%s: got %s, want %s", version, text.String(), want)
		}
	}
}

func TestCheckReportsDifferences(t *testing.T) {
	c := config(t, podsConfig)
	s := &services{}
	added, err := s.plugin().Add(t.Context(), pod, c)
	if err != nil {
		t.Fatal(err)
	}
	result, err := Result(pod, c, added)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.plugin().Check(t.Context(), pod, c, result); err != nil {
		t.Error(err)
	}

	other := *result
	other.IPs = []*types100.IPConfig{{Interface: types100.Int(1), Address: result.Routes[0].Dst}}
	missing := pod
	missing.Interface = "net7"
	for want, do := range map[string]func() error{
		"not 0.0.0.0/0":     func() error { return s.plugin().Check(t.Context(), pod, c, &other) },
		"no interface net7": func() error { return s.plugin().Check(t.Context(), missing, c, nil) },
		"eth0 is missing": func() error {
			bad := &services{sandbox: s.sandbox, fail: map[string]error{"compare": errors.New("eth0 is missing")}}
			return bad.plugin().Check(t.Context(), pod, c, result)
		},
		"is not published at host port 8080": func() error {
			bad := &services{sandbox: s.sandbox}
			return bad.plugin().Check(t.Context(), pod, c, result)
		},
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestCollectKeepsKnownAttachments(t *testing.T) {
	for valid, want := range map[string][]string{
		`[{"containerID": "c1", "ifname": "eth0"}]`: {"update back=web+store", "disconnect id-bridge"},
		`[{"containerID": "c1", "ifname": "net1"}]`: {"update ", "disconnect id-back"},
		`[]`: {"release"},
	} {
		s := &services{}
		net1 := pod
		net1.Interface = "net1"
		if _, err := s.plugin().Add(t.Context(), pod, config(t, podsConfig)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.plugin().Add(t.Context(), net1, config(t, `{"name": "pods", "network": "bridge"}`)); err != nil {
			t.Fatal(err)
		}
		s.calls = nil
		c := config(t, `{"name": "pods", "network": "back", "cni.dev/valid-attachments": `+valid+`}`)
		if err := s.plugin().Collect(t.Context(), c); err != nil || !slices.Equal(s.calls, want) {
			t.Errorf("%s: got %q, %v, want %q", valid, s.calls, err, want)
		}

		s.calls = nil
		if err := s.plugin().Collect(t.Context(), config(t, `{"name": "other"}`)); err != nil || len(s.calls) > 0 {
			t.Errorf("another configuration: got %q, %v", s.calls, err)
		}
	}
}

func TestStatusCodes(t *testing.T) {
	c := config(t, podsConfig)
	down := fault.New(fault.Unavailable, "natagent", "is not responding")
	for name, s := range map[string]struct {
		*services
		code uint
	}{
		"ready":      {&services{free: 1}, 0},
		"down":       {&services{free: 1, fail: map[string]error{"ready": down}}, types.ErrPluginNotAvailable},
		"exhausted":  {&services{}, types.ErrPluginNotAvailable},
		"grows":      {&services{grows: "10.1.0.0/16"}, 0},
		"no network": {&services{fail: map[string]error{"get network": fault.NotFoundf("network a", "not found")}}, 7},
	} {
		got := StatusError(s.plugin().Status(t.Context(), c))
		if got == nil && s.code != 0 || got != nil && got.Code != s.code {
			t.Errorf("%s: got %v, want code %d", name, got, s.code)
		}
	}
}

func TestErrorCodes(t *testing.T) {
	for kind, want := range map[fault.Kind]uint{fault.Invalid: 7, fault.NotFound: 7, fault.Exists: 100, fault.Busy: 100,
		fault.Conflict: 100, fault.Exhausted: 101, fault.Denied: 102, fault.Unavailable: 11, fault.Internal: 999} {
		if got := Error(fault.New(kind, "a", "b")).Code; got != want {
			t.Errorf("kind %v: got %d, want %d", kind, got, want)
		}
	}
	if got := Error(fault.Invalidf("a", "netns_path", "b")).Code; got != types.ErrInvalidNetNS {
		t.Errorf("got %d", got)
	}
	if got := Error(errors.New("x")); got.Code != types.ErrInternal || Error(nil) != nil || Error(got) != got {
		t.Errorf("got %v", got)
	}
	if !id.Valid(Owner("c1")) || Owner("c1") == Owner("c2") {
		t.Error("owners are not valid")
	}
}
