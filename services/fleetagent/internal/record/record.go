// Package record defines the keys and values of the fleet's store.
//
// A value is a protobuf message followed by its CRC-32C, so that a value which was cut or edited by
// hand is recognised: the last good value is used, and the bad one is reported. Fields that this
// version does not know are kept when a value is written back. The package is pure. It is used by
// fleetagent.
package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/proto/fault"
)

// Encode returns a message as a value. It fails only for messages with invalid UTF-8.
func Encode(m proto.Message) ([]byte, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fault.New(fault.Internal, "record", "cannot be encoded", fault.WithCause(err))
	}
	return Seal(data), nil
}

// Seal appends the checksum to an encoded message.
func Seal(data []byte) []byte { return binary.BigEndian.AppendUint32(data, checksum(data)) }

// Decode reads a value.
func Decode(key string, data []byte, m proto.Message) error {
	if len(data) < 4 {
		return bad(key, "is cut off")
	}
	body, sum := data[:len(data)-4], binary.BigEndian.Uint32(data[len(data)-4:])
	if got := checksum(body); got != sum {
		return bad(key, fmt.Sprintf("is damaged: its checksum is %08x, not %08x", got, sum))
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return bad(key, "is not a "+string(m.ProtoReflect().Descriptor().Name()))
	}
	return nil
}

func bad(key, message string) error { return fault.New(fault.Internal, "record "+key, message) }

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// EncodeRevision returns a revision of the store as a value.
func EncodeRevision(revision int64) []byte { return strconv.AppendInt(nil, revision, 10) }

// ParseRevision reads a revision.
func ParseRevision(data []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(data), 10, 64)
	return n, err == nil && n > 0
}
