package quichello

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/quictest"
)

// TestKeys checks the examples of RFC 9001 appendix A.1 and RFC 9369 appendix A.1.
func TestKeys(t *testing.T) {
	id, _ := hex.DecodeString("8394c8f03e515708")
	for version, iv := range map[uint32]string{version1: "fa044b2f42a3fd3b46fb255c",
		version2: "91f73e2351d8fa91660e909f"} {
		k, err := derive(version, string(id))
		if err != nil || hex.EncodeToString(k.iv) != iv {
			t.Errorf("version %x: got %x, %v, want %s", version, k.iv, err, iv)
		}
	}
}

// TestPacketNumbers checks the example of RFC 9000 appendix A.3, and the borders.
func TestPacketNumbers(t *testing.T) {
	for _, c := range []struct {
		short int64
		bits  uint
		last  int64
		want  int64
	}{{0x9b32, 16, 0xa82f30ea, 0xa82f9b32}, {0, 8, -1, 0}, {255, 8, -1, 255}, {0, 8, 255, 256}, {255, 8, 256, 255}} {
		if got := complete(c.short, c.bits, c.last); got != c.want {
			t.Errorf("%x of %d bits after %x: got %x, want %x", c.short, c.bits, c.last, got, c.want)
		}
	}
}

// seal returns an Initial packet, as far as it is decrypted here.
func seal(version uint32, id, key string, number uint32, frames []byte) []byte {
	k, err := derive(version, key)
	if err != nil {
		panic(err)
	}
	first := byte(slices.Index(kinds(version), kindInitial))<<4 | 0xc3 // a number of four bytes
	header := binary.BigEndian.AppendUint32([]byte{first}, version)
	header = append(append(header, byte(len(id))), id...)
	header = append(header, 0, 0) // source ID, token
	header = binary.BigEndian.AppendUint16(header, uint16(0x4000|4+len(frames)+16))
	header = binary.BigEndian.AppendUint32(header, number)
	nonce := bytes.Clone(k.iv)
	for i, b := range binary.BigEndian.AppendUint32(nil, number) {
		nonce[8+i] ^= b
	}
	out := k.payload.Seal(bytes.Clone(header), nonce, frames, header)

	var mask [16]byte
	at := len(header) - 4
	k.header.Encrypt(mask[:], out[at+4:at+20])
	out[0] ^= mask[0] & lowBits
	for i := range 4 {
		out[at+i] ^= mask[1+i]
	}
	return out
}

// crypto returns a CRYPTO frame.
func crypto(at int, data []byte) []byte {
	frame := binary.BigEndian.AppendUint16([]byte{frameCrypto}, uint16(0x4000|at))
	return append(binary.BigEndian.AppendUint16(frame, uint16(0x4000|len(data))), data...)
}

// message returns a ClientHello.
func message(name string) []byte {
	client, server := net.Pipe()
	defer client.Close()
	go func() { _ = tls.Client(client, &tls.Config{ServerName: name}).Handshake() }()
	buffer := make([]byte, 64<<10)
	n, err := server.Read(buffer)
	if err != nil {
		panic(err)
	}
	return buffer[5:n] // without the header of the record
}

const id = "abcdefgh"

func initial(number uint32, frames ...[]byte) []byte {
	return seal(version1, id, id, number, append(bytes.Join(frames, nil), make([]byte, 30)...))
}

func TestDatagrams(t *testing.T) {
	good, bad := message("good.test"), message("bad.test")
	whole := initial(0, crypto(0, good))
	ack := []byte{frameAck, 5, 0, 1, 0, 1, 1}
	long := func(kind int) []byte { // a packet that is not Initial
		return append([]byte{0xc0 | byte(kind)<<4, 0, 0, 0, version1, 8}, id+"\x00\x03xyz"...)
	}
	short := []byte("\x40" + id + "xyz")
	retried := seal(version1, "retried0", "retried0", 2, crypto(0, good))
	other := seal(version2, "other000", "other000", 0, append(crypto(0, good), make([]byte, 30)...))
	for _, c := range []struct {
		what      string
		datagrams [][]byte
		want      string // names of the last one; or its state, or error
	}{
		{"one packet", [][]byte{whole}, "good.test"},
		{"again", [][]byte{whole, whole}, "good.test"},
		{"version 2", [][]byte{other}, "good.test"},
		{"version 2 of a connection that began with version 1",
			[][]byte{whole, seal(version2, "server00", id, 1, append(ack, make([]byte, 30)...))}, "good.test"},
		{"two packets", [][]byte{initial(0, crypto(0, good[:700])), initial(1, crypto(700, good[700:]))}, "good.test"},
		{"first of two", [][]byte{initial(0, crypto(0, good[:700]))}, "waiting"},
		{"last of two", [][]byte{initial(1, crypto(700, good[700:]))}, "waiting"},
		{"last of two first", [][]byte{initial(1, crypto(700, good[700:])), initial(0, crypto(0, good[:700]))},
			"good.test"},
		{"two packets in one datagram", [][]byte{append(initial(0, crypto(0, good[:700])),
			initial(1, crypto(700, good[700:]))...)}, "good.test"},
		{"frames in any order", [][]byte{initial(0, crypto(300, good[300:]), []byte{framePing}, crypto(10,
			good[10:300]),
			ack, crypto(0, good[:10]))}, "good.test"},
		{"overlapping frames", [][]byte{initial(0, crypto(0, good[:500]), crypto(400, good[400:]))}, "good.test"},
		{"other bytes in an overlap", [][]byte{initial(0, crypto(0, good[:500]), crypto(0, bad[:400]))}, "ClientHello"},
		{"other bytes later", [][]byte{whole, initial(3, crypto(0, bad))}, "ClientHello"},
		{"a second ClientHello", [][]byte{whole, initial(1, crypto(len(good), bad))}, "good.test bad.test"},
		{"a part of a second ClientHello", [][]byte{whole, initial(1, crypto(len(good), bad[:9]))}, "waiting"},
		{"another connection", [][]byte{whole, seal(version1, "12345678", "12345678", 0, crypto(0, bad))}, "bad.test"},
		{"with the ID of the server", [][]byte{whole, seal(version1, "server00", id, 1, append(ack, make([]byte,
			30)...))},
			"good.test"},
		{"with the ID of the server, new bytes", [][]byte{whole, seal(version1, "server00", id, 1, crypto(len(good),
			bad))},
			"good.test bad.test"},
		{"after a retry", [][]byte{initial(0, crypto(0, good)), retried}, "good.test"},
		{"keys of an unknown connection", [][]byte{whole, seal(version1, "server00", "unknown0", 1, crypto(0, bad))},
			"useless"},
		{"a part after the handshake", [][]byte{whole, append(long(2), initial(1, crypto(len(good), bad))...)},
			"good.test bad.test"},
		{"handshake", [][]byte{whole, long(2)}, ""},
		{"data", [][]byte{whole, short}, ""},
		{"early data", [][]byte{whole, long(1)}, ""},
		{"early data in the datagram", [][]byte{append(bytes.Clone(whole), long(1)...)}, "good.test"},
		{"early data before the end", [][]byte{initial(0, crypto(0, good[:700])), long(1)}, "waiting"},
		{"data in the datagram", [][]byte{append(bytes.Clone(whole), short...)}, "good.test"},
		{"handshake first", [][]byte{long(2)}, "useless"},
		{"data first", [][]byte{short}, "useless"},
		{"early data first", [][]byte{long(1)}, "useless"},
		{"data before the end", [][]byte{initial(0, crypto(0, good[:700])), short}, "useless"},
		{"retry", [][]byte{long(3)}, "not QUIC"},
		{"another version", [][]byte{append([]byte{0xc0, 0xff, 0, 0, 29}, whole[5:]...)}, "not QUIC"},
		{"versions", [][]byte{append([]byte{0xc0, 0, 0, 0, 0}, whole[5:]...)}, "not QUIC"},
		{"long ID", [][]byte{{0xc0, 0, 0, 0, 1, 21, 0}}, "not QUIC"},
		{"cut", [][]byte{whole[:len(whole)-1]}, "not QUIC"},
		{"altered", [][]byte{append(bytes.Clone(whole[:len(whole)-1]), whole[len(whole)-1]^1)}, "useless"},
		{"a stream", [][]byte{initial(0, []byte{8, 0, 1, 2})}, "frames"},
		{"a frame that is cut", [][]byte{seal(version1, id, id, 0, append(bytes.Repeat([]byte{framePing}, 30),
			frameAck, 1))},
			"frames"},
		{"far bytes", [][]byte{initial(0, append([]byte{frameCrypto, 0x80, 0, 0x40, 0}, 1, 7))}, "ClientHello"},
		{"very far bytes", [][]byte{initial(0, append([]byte{frameCrypto}, append(bytes.Repeat([]byte{0xff}, 8), 1,
			7)...))},
			"ClientHello"},
		{"another message", [][]byte{initial(0, crypto(0, []byte{2, 0, 0, 1, 0}))}, "ClientHello"},
		{"no frames of it", [][]byte{initial(0, []byte{framePing})}, "waiting"},
	} {
		var f Flow
		var got string
		for _, d := range c.datagrams {
			got = describe(f.Datagram(d))
		}
		if !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}

func describe(names []string, s State, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case s == Complete:
		return strings.Join(names, " ")
	case s == Waiting:
		return "waiting"
	}
	return "useless"
}

func TestLimits(t *testing.T) {
	var f Flow
	hello := message("good.test")
	for i := range byte(2 * maxConnections) {
		name := id + string('a'+i)
		if got := describe(f.Datagram(seal(version1, name, name, 0, crypto(0, hello)))); got != "good.test" {
			t.Fatalf("connection %d: got %q", i, got)
		}
	}
	if len(f.connections) != maxConnections || len(f.Names()) != maxConnections {
		t.Errorf("%d connections", len(f.connections))
	}

	f = Flow{}
	var err error
	parts := 0
	for ; err == nil && parts < 2*maxParts; parts++ {
		_, _, err = f.Datagram(initial(uint32(parts), crypto(2*parts, hello[2*parts:2*parts+1])))
	}
	if !errors.Is(err, ErrHello) || parts != maxParts+1 {
		t.Errorf("after %d parts: %v", parts, err)
	}
}

// TestClient reads the datagrams of a QUIC client.
func TestClient(t *testing.T) {
	conn := quictest.Client(t, "Good.test")
	var f Flow
	for {
		buffer := make([]byte, 4096)
		n, _, err := conn.ReadFrom(buffer)
		if err != nil {
			t.Fatal(err)
		}
		names, s, err := f.Datagram(buffer[:n])
		if err != nil {
			t.Fatal(err)
		}
		if s == Complete {
			if !slices.Equal(names, []string{"good.test"}) {
				t.Errorf("got %q", names)
			}
			return
		}
	}
}

// FuzzDatagram reads any datagrams and frames, and a ClientHello in parts.
func FuzzDatagram(f *testing.F) {
	hello := message("good.test")
	f.Add(initial(0, crypto(0, hello)), crypto(0, hello[:300]), 300, 700)
	f.Add([]byte("\x40abc"), []byte{frameAck, 5, 0, 1, 0, 1, 1, frameClose, 0, 0, 1, 'x'}, 0, 1)
	f.Fuzz(func(t *testing.T, datagram, frames []byte, a, b int) {
		if len(frames) > 10000 || a < 0 || a > b || b > len(hello) {
			return
		}
		var raw Flow
		_, _, _ = raw.Datagram(datagram)
		_, _, _ = raw.Datagram(initial(0, frames))
		var divided Flow
		got := ""
		for i, part := range [][]byte{crypto(b, hello[b:]), crypto(0, hello[:a]), crypto(a, hello[a:b])} {
			got = describe(divided.Datagram(initial(uint32(i), part)))
		}
		if got != "good.test" {
			t.Errorf("divided at %d and %d: got %q", a, b, got)
		}
	})
}
