package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
)

// The layout of a bbolt file, version 2. See go.etcd.io/bbolt/internal/common, page.go and meta.go.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader    = 16 // id uint64, flags uint16, count uint16, overflow uint32
	elementHeader = 16
	metaSize      = 64 // without the checksum: magic to txid
	checksumAt    = 56
	bucketHeader  = 16 // root uint64, sequence uint64

	branchPage = 0x01
	leafPage   = 0x02

	bucketElement = 0x01
)

// errEmpty reports a file without content.
var errEmpty = errors.New("the file is empty")

// verify checks the structure of a bbolt file without mapping it. bbolt trusts its file: a
// truncated file kills the process with SIGBUS, and a damaged one panics in a goroutine that cannot
// be recovered.
func verify(path string) error {
	data, err := os.ReadFile(path)
	switch {
	case err != nil:
		return err
	case len(data) == 0:
		return errEmpty
	}
	return verifyBytes(data)
}

func verifyBytes(data []byte) error {
	m, err := newestMeta(data)
	if err != nil {
		return err
	}
	if need := m.pages * m.pageSize; uint64(len(data)) < need {
		return fmt.Errorf("truncated: %d bytes of at least %d", len(data), need)
	}
	v := verifier{data: data, meta: m, seen: map[uint64]bool{}}
	return v.tree(m.root, 0)
}

// boltMeta holds the fields of a meta page.
type boltMeta struct {
	pageSize, root, pages, txid uint64
}

// newestMeta returns the valid meta page of the last commit. The second page follows the first
// after one page, whose size is known only if the first is valid.
func newestMeta(data []byte) (boltMeta, error) {
	first, err := readMeta(data, 0)
	best, found := first, err == nil
	sizes := []uint64{first.pageSize}
	if !found {
		sizes = []uint64{4096, 1024, 2048, 8192, 16384, 32768, 65536}
	}
	for _, size := range sizes {
		second, serr := readMeta(data, size)
		if serr == nil && second.pageSize == size && (!found || second.txid > best.txid) {
			best, found = second, true
		}
	}
	if !found {
		return boltMeta{}, fmt.Errorf("not a database: %w", err)
	}
	return best, nil
}

func readMeta(data []byte, at uint64) (boltMeta, error) {
	if uint64(len(data)) < at+pageHeader+metaSize {
		return boltMeta{}, fmt.Errorf("%d bytes only", len(data))
	}
	b := data[at+pageHeader:]
	order := binary.NativeEndian
	if order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion {
		return boltMeta{}, errors.New("the first page is not a database page")
	}
	sum := fnv.New64a()
	_, _ = sum.Write(b[:checksumAt])
	if sum.Sum64() != order.Uint64(b[checksumAt:]) {
		return boltMeta{}, errors.New("wrong checksum of the first page")
	}
	m := boltMeta{pageSize: uint64(order.Uint32(b[8:])), root: order.Uint64(b[16:]), pages: order.Uint64(b[40:]),
		txid: order.Uint64(b[48:])}
	if m.pageSize < 512 || m.pageSize > 1<<20 || m.root >= m.pages {
		return boltMeta{}, errors.New("invalid values in the first page")
	}
	return m, nil
}

// verifier walks the pages that are reachable from a root.
type verifier struct {
	data []byte
	meta boltMeta
	seen map[uint64]bool
}

// maxDepth is the maximum depth of nested pages and buckets. A tree of four levels has millions of
// records.
const maxDepth = 32

func (v *verifier) tree(id uint64, depth int) error {
	if id < 2 || id >= v.meta.pages {
		return fmt.Errorf("page %d does not exist", id)
	}
	if v.seen[id] || depth > maxDepth {
		return fmt.Errorf("page %d is used twice", id)
	}
	v.seen[id] = true

	at := id * v.meta.pageSize
	header := v.data[at:]
	order := binary.NativeEndian
	overflow := uint64(order.Uint32(header[12:]))
	if own := order.Uint64(header); own != id {
		return fmt.Errorf("page %d has the number %d", id, own)
	}
	if id+overflow >= v.meta.pages {
		return fmt.Errorf("page %d reaches beyond the end", id)
	}
	for more := id + 1; more <= id+overflow; more++ {
		if v.seen[more] {
			return fmt.Errorf("page %d is used twice", more)
		}
		v.seen[more] = true
	}
	if err := v.page(v.data[at:at+(overflow+1)*v.meta.pageSize], depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// page checks the elements of a branch or leaf page.
func (v *verifier) page(page []byte, depth int) error {
	order := binary.NativeEndian
	flags, count := order.Uint16(page[8:]), int(order.Uint16(page[10:]))
	if flags != branchPage && flags != leafPage {
		return fmt.Errorf("unexpected type %#x", flags)
	}
	if pageHeader+count*elementHeader > len(page) {
		return errors.New("too many elements")
	}
	var last []byte
	for i := range count {
		at := pageHeader + i*elementHeader
		key, value, child, err := element(page, at, flags)
		if err != nil {
			return err
		}
		if i > 0 && bytes.Compare(last, key) >= 0 {
			return errors.New("elements out of order")
		}
		last = key
		switch {
		case flags == branchPage:
			err = v.tree(child, depth+1)
		case order.Uint32(page[at:])&bucketElement != 0:
			err = v.bucket(value, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// element reads the page element whose header is at an offset.
func element(page []byte, at int, flags uint16) (key, value []byte, child uint64, err error) {
	order := binary.NativeEndian
	var pos, keySize, valueSize uint64
	if flags == branchPage {
		pos, keySize, child = uint64(order.Uint32(page[at:])), uint64(order.Uint32(page[at+4:])),
			order.Uint64(page[at+8:])
	} else {
		pos, keySize, valueSize = uint64(order.Uint32(page[at+4:])), uint64(order.Uint32(page[at+8:])),
			uint64(order.Uint32(page[at+12:]))
	}
	from := uint64(at) + pos
	if from+keySize+valueSize > uint64(len(page)) {
		return nil, nil, 0, errors.New("an element reaches beyond the end")
	}
	return page[from : from+keySize], page[from+keySize : from+keySize+valueSize], child, nil
}

// bucket checks a bucket. Its pages are separate or, if it is small, inline in its value.
func (v *verifier) bucket(value []byte, depth int) error {
	if len(value) < bucketHeader {
		return errors.New("a bucket is too short")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return v.tree(root, depth)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || depth > maxDepth {
		return errors.New("a bucket is too short")
	}
	return v.page(inline, depth)
}
