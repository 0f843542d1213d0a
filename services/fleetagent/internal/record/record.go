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
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/proto/fault"
)

// root is the prefix of all keys. Its number is the version of the layout.
const root = "/fairlead/1/"

// Keys builds the keys of one fleet.
type Keys struct{ prefix string }

// ForFleet returns the keys below a prefix, which may be empty.
func ForFleet(prefix, fleet string) Keys { return Keys{prefix + root + fleet + "/"} }

// All returns the prefix of all keys.
func (k Keys) All() string { return k.prefix }

// Hosts returns the prefix of host records.
func (k Keys) Hosts() string { return k.prefix + "h/" }

// Host returns the key of a host record.
func (k Keys) Host(id string) string { return k.Hosts() + id }

// Name returns the key that reserves the name of a host.
func (k Keys) Name(name string) string { return k.prefix + "name/" + name }

// Presences returns the prefix of the keys that exist while a host renews its lease.
func (k Keys) Presences() string { return k.prefix + "live/" }

// Presence returns the key that exists while a host renews its lease.
func (k Keys) Presence(id string) string { return k.Presences() + id }

// Token returns the key of a join token by the hash of its secret.
func (k Keys) Token(hash string) string { return k.prefix + "join/" + hash }

// Last returns the last element of a key.
func Last(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// Encode returns a message as a value. It fails only for messages with invalid UTF-8.
func Encode(m proto.Message) ([]byte, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fault.New(fault.Internal, "record", "cannot be encoded", fault.WithCause(err))
	}
	return binary.BigEndian.AppendUint32(data, checksum(data)), nil
}

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
