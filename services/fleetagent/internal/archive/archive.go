// Package archive encodes backups of a fleet: the membership of a manager with its keys, and the records of
// the store. A backup is JSON, compressed by gzip. It does not depend on the version of the store.
//
// The package is pure. It is used by fleetagent.
package archive

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// version is the version of the format.
const version = 1

// maxSize limits the decompressed size of a backup, so that a small file cannot exhaust the memory.
const maxSize = 1 << 30

// Archive is the content of a backup.
type Archive struct {
	Version int               `json:"version"`
	Fleet   string            `json:"fleet"`
	Host    string            `json:"host"` // the ID of the manager
	Created time.Time         `json:"created"`
	Files   map[string][]byte `json:"files"`   // of the membership, by name
	Records map[string][]byte `json:"records"` // by key below the fleet's prefix
}

// Encode returns the backup.
func Encode(a Archive) ([]byte, error) {
	a.Version = version
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if err := json.NewEncoder(w).Encode(a); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Decode reads a backup. The checksum of gzip finds a file that was cut off or altered.
func Decode(data []byte) (Archive, error) {
	var a Archive
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return a, bad("is not a backup of a fleet", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxSize))
	if err != nil {
		return a, bad("is cut off or altered", err)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, bad("is not a backup of a fleet", err)
	}
	if a.Version != version {
		return a, bad(fmt.Sprintf("has version %d of the format, this program reads %d", a.Version, version), nil)
	}
	for name := range a.Files {
		if name == "" || name[0] == '.' || strings.ContainsAny(name, "/\\") {
			return a, bad(fmt.Sprintf("has a file named %q", name), nil)
		}
	}
	if a.Fleet == "" || a.Host == "" || len(a.Files) == 0 || len(a.Records) == 0 {
		return a, bad("is not a backup of a fleet", nil)
	}
	return a, nil
}

func bad(message string, cause error) error {
	return fault.New(fault.Invalid, "backup", message, fault.WithCause(cause))
}
