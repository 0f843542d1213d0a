package container

import (
	"errors"
	"os"

	"github.com/fairlead/fairlead/proto/fault"
)

// cidFile is the file of --cidfile, or nil. It is created before the container, so that an invalid
// name creates no container.
type cidFile struct {
	*os.File
	written bool
}

func openCIDFile(name string) (*cidFile, error) {
	if name == "" {
		return nil, nil
	}

	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		reason := err
		if p, ok := errors.AsType[*os.PathError](err); ok {
			reason = p.Err
		}
		return nil, fault.New(fault.Invalid, "--cidfile "+name, "cannot be created", fault.WithCause(reason),
			fault.WithField("cidfile"),
			fault.WithHint("name a file that does not exist"))
	}

	return &cidFile{File: f}, nil
}

// write writes the container's ID.
func (f *cidFile) write(id string) error {
	if f == nil {
		return nil
	}
	f.written = true
	_, err := f.WriteString(id)
	return err
}

// close closes the file and removes it if no container was created.
func (f *cidFile) close() error {
	if f == nil {
		return nil
	}
	err := f.Close()
	if !f.written {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
