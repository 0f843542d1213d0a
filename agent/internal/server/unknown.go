package server

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/fairlead/fairlead/proto/fault"
)

// rejectUnknown rejects a request with unknown fields. A newer client may use them to restrict
// something, such as the allowed sources of a published port. Ignoring them would remove the
// restriction.
func rejectUnknown(req any) error {
	m, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	where, found := unknownIn(m.ProtoReflect())
	if !found {
		return nil
	}
	return fault.New(fault.Invalid, "request", "has the unknown "+where+", the client is newer than this agent",
		fault.WithHint("upgrade the agent, or use a client of its version"))
}

// unknownIn returns the first unknown field of a message or its nested messages.
func unknownIn(m protoreflect.Message) (where string, found bool) {
	if raw := m.GetUnknown(); len(raw) > 0 {
		number, _, _ := protowire.ConsumeTag(raw)
		return fmt.Sprintf("field %d of %s", number, m.Descriptor().Name()), true
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		where, found = unknownInField(f, v)
		return !found
	})
	return where, found
}

func unknownInField(f protoreflect.FieldDescriptor, v protoreflect.Value) (where string, found bool) {
	switch {
	case f.IsMap():
		if f.MapValue().Message() == nil {
			return "", false
		}
		v.Map().Range(func(_ protoreflect.MapKey, item protoreflect.Value) bool {
			where, found = unknownIn(item.Message())
			return !found
		})
	case f.Message() == nil:
	case f.IsList():
		for i := 0; i < v.List().Len() && !found; i++ {
			where, found = unknownIn(v.List().Get(i).Message())
		}
	default:
		return unknownIn(v.Message())
	}
	return where, found
}
