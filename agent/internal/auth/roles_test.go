package auth

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/fairlead/fairlead/proto/fault"
	authv1 "github.com/fairlead/fairlead/proto/gen/fairlead/auth/v1"

	_ "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

func TestEveryMethodHasRole(t *testing.T) {
	var services []string
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(f.Path(), "fairlead/") {
			services = append(services, ServicesOf(string(f.Package()))...)
		}
		return true
	})
	table, err := RolesOf(services)
	if err != nil {
		t.Error(err)
	}
	if len(table) < 60 {
		t.Errorf("got %d methods, want at least 60", len(table))
	}
}

func TestRolesComeFromOptions(t *testing.T) {
	table, err := RolesOf([]string{"fairlead.network.v1.SandboxService", "grpc.health.v1.Health"})
	if err != nil {
		t.Fatal(err)
	}
	for method, want := range map[string]authv1.Role{
		"/fairlead.network.v1.SandboxService/ListSandboxes":            authv1.Role_ROLE_ADMINISTRATOR,
		"/fairlead.network.v1.SandboxService/CreateSandbox":            authv1.Role_ROLE_SERVICE,
		"/" + grpc_health_v1.Health_ServiceDesc.ServiceName + "/Check": authv1.Role_ROLE_ADMINISTRATOR,
		"/fairlead.network.v1.NetworkService/ListNetworks":             authv1.Role_ROLE_UNSPECIFIED,
	} {
		if got := table[method]; got != want {
			t.Errorf("%s: got %v, want %v", method, got, want)
		}
	}
}

func TestUnknownServiceIsAnError(t *testing.T) {
	for _, name := range []string{"fairlead.none.v1.NoneService", "fairlead.network.v1.Network"} {
		if _, err := RolesOf([]string{name}); !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want an Internal fault with %s", err, name)
		}
	}
}

// TestMethodWithoutRoleIsAnError registers a service with one method that has no option.
func TestMethodWithoutRoleIsAnError(t *testing.T) {
	empty := proto.String(".test.roleless.v1.Empty")
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test/roleless.proto"), Package: proto.String("test.roleless.v1"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Empty")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("RolelessService"),
			Method: []*descriptorpb.MethodDescriptorProto{{Name: proto.String("Do"), InputType: empty,
				OutputType: empty}}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	if err := protoregistry.GlobalFiles.RegisterFile(file); err != nil {
		t.Fatal(err)
	}

	table, err := RolesOf(ServicesOf("test.roleless.v1"))
	const want = "method test.roleless.v1.RolelessService.Do: has no role"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got error %v, want %q", err, want)
	}
	if table.Authorize(Admins, Identity{member: true}, "/test.roleless.v1.RolelessService/Do") == nil {
		t.Error("got a method without a role allowed, want it denied")
	}
}

func TestServicesOfPackage(t *testing.T) {
	got := ServicesOf("fairlead.network.v1", "fairlead.nat.v1", "fairlead.none.v1")
	want := []string{"fairlead.nat.v1.ConnectionService", "fairlead.nat.v1.FirewallService",
		"fairlead.nat.v1.PolicyService",
		"fairlead.nat.v1.PublicationService", "fairlead.network.v1.NetworkService",
		"fairlead.network.v1.SandboxService"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHasAdminMethods(t *testing.T) {
	r := Roles{"/a.A/Read": authv1.Role_ROLE_ADMINISTRATOR, "/a.A/Write": authv1.Role_ROLE_SERVICE,
		"/a.B/Write": authv1.Role_ROLE_SERVICE}
	for service, want := range map[string]bool{"a.A": true, "a.B": false, "a": false} {
		if got := r.HasAdminMethods(service); got != want {
			t.Errorf("%s: got %v, want %v", service, got, want)
		}
	}
}
