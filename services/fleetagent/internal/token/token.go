// Package token encodes join tokens. A join token is one word that a new host needs to join a
// fleet: where the managers are, how to recognise them, a secret and the role of the host.
//
// The package checks form only. Whether a token has expired or is used up is decided by the manager
// that issued it, which stores the hash of the secret. It is used by fleetagent.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"net/netip"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Prefix starts each token. Its digit is the version of the format.
const Prefix = "flt1."

// SecretLen is the number of bytes of a secret.
const SecretLen = 20

// maxManagers limits the addresses in a token, so that it stays one line.
const maxManagers = 7

// maxLen limits the length of a token that is parsed.
const maxLen = 512

// The subject and the hint of all errors.
const (
	subject = "join token"
	newOne  = "create a new one on a manager: fairlead fleet token"
)

// Role is the role of a host that joins.
type Role byte

// The roles of a host.
const (
	Member  Role = 1 // runs containers
	Manager Role = 2 // a member that also keeps the store and commands other hosts
)

// String returns the role's name in commands and messages.
func (r Role) String() string {
	switch r {
	case Member:
		return "member"
	case Manager:
		return "manager"
	}
	return "unknown"
}

// Token is the content of a join token.
type Token struct {
	Managers []netip.AddrPort  // at least one; the addresses of managers when the token was created
	CA       [sha256.Size]byte // the SHA-256 digest of the fleet's CA certificate
	Secret   [SecretLen]byte   // proves that a manager issued the token
	Role     Role
}

// NewSecret returns a random secret.
func NewSecret() (secret [SecretLen]byte) {
	_, _ = rand.Read(secret[:]) // crypto/rand.Read never fails
	return secret
}

// Hash returns the form in which a manager stores a secret: 64 hexadecimal digits.
func Hash(secret [SecretLen]byte) string {
	sum := sha256.Sum256(secret[:])
	return hex.EncodeToString(sum[:])
}

// String encodes the token.
//
// The payload is: role (1 byte), number of managers (1), for each its address length (1), address
// and port (2), CA digest (32), secret (20), CRC-32C of all before it (4).
func (t Token) String() string {
	b := []byte{byte(t.Role), byte(len(t.Managers))}
	for _, m := range t.Managers {
		address := m.Addr().Unmap().AsSlice()
		b = append(append(b, byte(len(address))), address...)
		b = binary.BigEndian.AppendUint16(b, m.Port())
	}
	b = append(append(b, t.CA[:]...), t.Secret[:]...)
	return Prefix + base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(b, checksum(b)))
}

// Parse decodes a token. It ignores surrounding white space. The errors never contain the token,
// because it has a secret.
func Parse(s string) (Token, error) {
	s = strings.TrimSpace(s)
	payload, ok := strings.CutPrefix(s, Prefix)
	switch {
	case s == "":
		return Token{}, invalid("is empty")
	case !ok && strings.HasPrefix(s, "flt"):
		return Token{}, fault.New(fault.Invalid, subject, "was created by another version of Fairlead",
			fault.WithHint("upgrade this host or the manager"))
	case !ok:
		return Token{}, invalid("does not start with " + Prefix)
	case len(s) > maxLen:
		return Token{}, invalid("is too long")
	}

	b, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil || len(b) < 4 {
		return Token{}, damaged()
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if checksum(body) != sum {
		return Token{}, damaged()
	}
	return decode(body)
}

// decode reads the payload without its checksum.
func decode(b []byte) (Token, error) {
	if len(b) < 2 {
		return Token{}, damaged()
	}
	t := Token{Role: Role(b[0])}
	count := int(b[1])
	b = b[2:]
	if t.Role != Member && t.Role != Manager || count == 0 || count > maxManagers {
		return Token{}, damaged()
	}

	for range count {
		manager, rest, ok := cutAddress(b)
		if !ok {
			return Token{}, damaged()
		}
		t.Managers, b = append(t.Managers, manager), rest
	}

	if len(b) != len(t.CA)+len(t.Secret) {
		return Token{}, damaged()
	}
	copy(t.CA[:], b)
	copy(t.Secret[:], b[len(t.CA):])
	return t, nil
}

// cutAddress reads one address and returns what follows it.
func cutAddress(b []byte) (netip.AddrPort, []byte, bool) {
	if len(b) < 1 {
		return netip.AddrPort{}, nil, false
	}
	size := int(b[0])
	if size != 4 && size != 16 || len(b) < 1+size+2 {
		return netip.AddrPort{}, nil, false
	}

	address, _ := netip.AddrFromSlice(b[1 : 1+size])
	port := binary.BigEndian.Uint16(b[1+size:])
	valid := port != 0 && !address.Is4In6() && !address.IsUnspecified()
	return netip.AddrPortFrom(address, port), b[1+size+2:], valid
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func damaged() error { return invalid("is cut off or altered") }

func invalid(message string) error {
	return fault.New(fault.Invalid, subject, message, fault.WithHint("copy the whole word, or "+newOne))
}
