package auth

import (
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/fairlead/fairlead/proto/fault"
	authv1 "github.com/fairlead/fairlead/proto/gen/fairlead/auth/v1"
)

// Roles maps methods, as in "/fairlead.network.v1.NetworkService/ListNetworks", to the roles that they require.
type Roles map[string]authv1.Role

// RolesOf returns the roles of all methods of the given services, from their descriptors. It fails if a service is not
// linked into this program or a method has no role.
func RolesOf(services []string) (Roles, error) {
	table := Roles{}
	var problems error
	for _, name := range services {
		problems = errors.Join(problems, table.add(name))
	}
	return table, problems
}

// add adds the methods of a service.
func (r Roles) add(service string) error {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	descriptor, ok := found.(protoreflect.ServiceDescriptor)
	if err != nil || !ok {
		return fault.New(fault.Internal, "service "+service, "has no descriptor", fault.WithCause(err))
	}

	var problems error
	for i := range descriptor.Methods().Len() {
		method := descriptor.Methods().Get(i)
		least := roleOf(method)
		if least == authv1.Role_ROLE_UNSPECIFIED {
			problems = errors.Join(problems, fault.New(fault.Internal, "method "+string(method.FullName()),
				"has no role", fault.WithHint("add the option fairlead.auth.v1.role")))
		}
		r["/"+service+"/"+string(method.Name())] = least
	}
	return problems
}

// roleOf returns the role that a method requires. Health and reflection of gRPC are for administrators.
func roleOf(method protoreflect.MethodDescriptor) authv1.Role {
	if IsInfrastructure("/" + string(method.FullName())) {
		return authv1.Role_ROLE_ADMINISTRATOR
	}
	role, _ := proto.GetExtension(method.Options(), authv1.E_Role).(authv1.Role)
	return role
}

// IsInfrastructure reports whether a method is of gRPC itself: health or reflection.
func IsInfrastructure(method string) bool { return strings.HasPrefix(method, "/grpc.") }

// HasAdminMethods reports whether a service has a method for administrators.
func (r Roles) HasAdminMethods(service string) bool {
	for method, least := range r {
		if least == authv1.Role_ROLE_ADMINISTRATOR && strings.HasPrefix(method, "/"+service+"/") {
			return true
		}
	}
	return false
}

// ServicesOf returns the gRPC services of proto packages that are linked into this program, sorted by name.
func ServicesOf(packages ...string) []string {
	var all []string
	for _, p := range packages {
		name := protoreflect.FullName(p)
		protoregistry.GlobalFiles.RangeFilesByPackage(name, func(f protoreflect.FileDescriptor) bool {
			for i := range f.Services().Len() {
				all = append(all, string(f.Services().Get(i).FullName()))
			}
			return true
		})
	}
	slices.Sort(all)
	return all
}
