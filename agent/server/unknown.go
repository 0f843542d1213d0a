package server

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/fairlead/fairlead/proto/fault"
)

// refuseUnknown refuses a request with fields that this agent does not know. Its client is newer and may have restricted something by
// them, such as who may connect to a published port: an agent that leaves out what it does not know would open it.
func refuseUnknown(req any) error {
	m, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	where, found := unknownIn(m.ProtoReflect())
	if !found {
		return nil
	}
	return fault.New(fault.Invalid, "request", "has the unknown "+where+": its client is newer than this agent",
		fault.WithHint("upgrade the agent, or use the client of its version"))
}

// unknownIn finds the first unknown field of a message or of those in it.
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
