package archive_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/fleetagent/internal/archive"
)

func example() archive.Archive {
	return archive.Archive{Version: 1, Fleet: "f", Host: "h", Created: time.Unix(1, 0).UTC(),
		Files: map[string][]byte{"ca.crt": []byte("x")}, Records: map[string][]byte{"h/1": {0, 255}}}
}

func TestBackupIsReadAsWritten(t *testing.T) {
	data, err := archive.Encode(example())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := archive.Decode(data); err != nil || !reflect.DeepEqual(got, example()) {
		t.Errorf("got %v, error %v", got, err)
	}
	for i := range data {
		if _, err := archive.Decode(data[:i]); fault.KindOf(err) != fault.Invalid {
			t.Fatalf("cut off after %d bytes: got error %v", i, err)
		}
	}
	for i := 10; i < len(data); i++ { // the header has bytes without a meaning
		altered := bytes.Clone(data)
		altered[i] ^= 1
		if got, err := archive.Decode(altered); err == nil && !reflect.DeepEqual(got, example()) {
			t.Errorf("altered byte %d: got %v", i, got)
		}
	}
}

func TestBadBackupsAreRefused(t *testing.T) {
	for name, edit := range map[string]func(*archive.Archive){
		"path":       func(a *archive.Archive) { a.Files["../x"] = nil },
		"hidden":     func(a *archive.Archive) { a.Files[".x"] = nil },
		"no fleet":   func(a *archive.Archive) { a.Fleet = "" },
		"no records": func(a *archive.Archive) { a.Records = nil },
	} {
		a := example()
		edit(&a)
		data, err := archive.Encode(a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Decode(data); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}
