package quichello

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

// keys decrypt the Initial packets of a client, RFC 9001 section 5.
type keys struct {
	header  cipher.Block
	payload cipher.AEAD
	iv      []byte
}

// secrets returns the salt of a version, and the start of its labels.
func secrets(version uint32) (salt, label string) {
	if version == version2 {
		return "\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9", "quicv2 "
	}
	return "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a", "quic "
}

// derive returns the keys of a connection.
func derive(version uint32, id string) (*keys, error) {
	const keyLength, ivLength = 16, 12
	salt, label := secrets(version)
	initial, err := hkdf.Extract(sha256.New, []byte(id), []byte(salt))
	if err != nil {
		return nil, err
	}
	client, err := expand(initial, "client in", sha256.Size)
	if err != nil {
		return nil, err
	}

	var parts [3][]byte
	for i, of := range []struct {
		name   string
		length int
	}{{"key", keyLength}, {"iv", ivLength}, {"hp", keyLength}} {
		if parts[i], err = expand(client, label+of.name, of.length); err != nil {
			return nil, err
		}
	}
	k := &keys{iv: parts[1]}
	block, err := aes.NewCipher(parts[0])
	if err != nil {
		return nil, err
	}
	if k.payload, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	k.header, err = aes.NewCipher(parts[2])
	return k, err
}

// expand is HKDF-Expand-Label of RFC 8446 section 7.1 without a context.
func expand(secret []byte, label string, length int) ([]byte, error) {
	label = "tls13 " + label
	info := append(binary.BigEndian.AppendUint16(nil, uint16(length)), byte(len(label)))
	return hkdf.Expand(sha256.New, secret, string(append(append(info, label...), 0)), length)
}

// open decrypts a packet. last is the largest packet number of the connection, or -1.
func (k *keys) open(p packet, last int64) (frames []byte, number int64, ok bool) {
	const sampleOffset, sampleLength = 4, aes.BlockSize
	from := p.number + sampleOffset
	if len(p.data) < from+sampleLength {
		return nil, 0, false
	}
	var mask [aes.BlockSize]byte
	k.header.Encrypt(mask[:], p.data[from:from+sampleLength])

	first := p.data[0] ^ mask[0]&lowBits
	length := int(first&3) + 1
	header := append([]byte{first}, p.data[1:p.number+length]...)
	var short uint32
	for i := range length {
		header[p.number+i] ^= mask[1+i]
		short = short<<8 | uint32(header[p.number+i])
	}
	number = complete(int64(short), uint(8*length), last)

	nonce := append([]byte(nil), k.iv...)
	for i := range 8 {
		nonce[len(nonce)-1-i] ^= byte(number >> (8 * i))
	}
	frames, err := k.payload.Open(nil, nonce, p.data[p.number+length:], header)
	return frames, number, err == nil
}

// complete returns the packet number whose last bits are short: the nearest one to the one after last. RFC 9000
// appendix A.3.
func complete(short int64, bits uint, last int64) int64 {
	expected, window := last+1, int64(1)<<bits
	n := expected&^(window-1) | short
	switch {
	case n <= expected-window/2 && n < 1<<62-window:
		return n + window
	case n > expected+window/2 && n >= window:
		return n - window
	}
	return n
}
