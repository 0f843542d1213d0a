// Package wire reads and changes protobuf messages of BuildKit without their descriptors: a message is a
// list of fields, and what is not changed stays as it was. BuildKit's own packages have hundreds of
// dependencies, and the engine reads a dozen fields. It performs no I/O.
package wire

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// Number is the number of a field.
type Number = protowire.Number

// Field is a field of a message.
type Field struct {
	Number Number
	Type   protowire.Type
	Int    uint64 // the value of a varint, or of a fixed one
	Data   []byte // the value of a string, bytes or message
}

// Message is a message. The order of its fields is kept.
type Message []Field

// errMalformed is the error of a message that cannot be parsed.
var errMalformed = errors.New("malformed message")

// Parse parses a message. The fields refer to data.
func Parse(data []byte) (Message, error) {
	var m Message
	for len(data) > 0 {
		num, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, errMalformed
		}
		data = data[n:]
		f := Field{Number: num, Type: kind}
		switch kind {
		case protowire.VarintType:
			f.Int, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(data)
			f.Int = uint64(v)
		case protowire.Fixed64Type:
			f.Int, n = protowire.ConsumeFixed64(data)
		case protowire.BytesType:
			f.Data, n = protowire.ConsumeBytes(data)
		default:
			return nil, errMalformed // groups are not used
		}
		if n < 0 {
			return nil, errMalformed
		}
		data, m = data[n:], append(m, f)
	}
	return m, nil
}

// Bytes returns the encoded message.
func (m Message) Bytes() []byte {
	out := []byte{}
	for _, f := range m {
		out = protowire.AppendTag(out, f.Number, f.Type)
		switch f.Type {
		case protowire.VarintType:
			out = protowire.AppendVarint(out, f.Int)
		case protowire.Fixed32Type:
			out = protowire.AppendFixed32(out, uint32(f.Int))
		case protowire.Fixed64Type:
			out = protowire.AppendFixed64(out, f.Int)
		default:
			out = protowire.AppendBytes(out, f.Data)
		}
	}
	return out
}

// Data returns the last value of a field of bytes. It is nil if there is none.
func (m Message) Data(n Number) []byte {
	for i := len(m) - 1; i >= 0; i-- {
		if m[i].Number == n && m[i].Type == protowire.BytesType {
			return m[i].Data
		}
	}
	return nil
}

// Text returns the last value of a string field.
func (m Message) Text(n Number) string { return string(m.Data(n)) }

// Texts returns all values of a string field.
func (m Message) Texts(n Number) (all []string) {
	for _, f := range m {
		if f.Number == n && f.Type == protowire.BytesType {
			all = append(all, string(f.Data))
		}
	}
	return all
}

// Int returns the last value of a number field.
func (m Message) Int(n Number) int64 {
	for i := len(m) - 1; i >= 0; i-- {
		if m[i].Number == n && m[i].Type == protowire.VarintType {
			return int64(m[i].Int)
		}
	}
	return 0
}

// Message returns the last value of a message field. It is empty if there is none or if it is malformed.
func (m Message) Message(n Number) Message {
	inner, err := Parse(m.Data(n))
	if err != nil {
		return nil
	}
	return inner
}

// Messages returns all values of a message field. Malformed ones are empty.
func (m Message) Messages(n Number) (all []Message) {
	for _, f := range m {
		if f.Number == n && f.Type == protowire.BytesType {
			inner, _ := Parse(f.Data) // empty if malformed
			all = append(all, inner)
		}
	}
	return all
}

// Map returns the entries of a field that maps strings to strings.
func (m Message) Map(n Number) map[string]string {
	all := map[string]string{}
	for _, entry := range m.Messages(n) {
		all[entry.Text(1)] = entry.Text(2)
	}
	return all
}

// Without returns a message without a field.
func (m Message) Without(n Number) Message {
	var out Message
	for _, f := range m {
		if f.Number != n {
			out = append(out, f)
		}
	}
	return out
}

// WithData returns a message with one more value of a field.
func (m Message) WithData(n Number, data []byte) Message {
	return append(m[:len(m):len(m)], Field{Number: n, Type: protowire.BytesType, Data: data})
}

// WithText returns a message with one more value of a field.
func (m Message) WithText(n Number, text string) Message { return m.WithData(n, []byte(text)) }

// WithInt returns a message with one more value of a field.
func (m Message) WithInt(n Number, v int64) Message {
	return append(m[:len(m):len(m)], Field{Number: n, Type: protowire.VarintType, Int: uint64(v)})
}

// WithEntry returns a message with one more entry of a field that maps strings to strings.
func (m Message) WithEntry(n Number, key, value string) Message {
	return m.WithData(n, Message{}.WithText(1, key).WithText(2, value).Bytes())
}
