package process

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"
)

// storePrefix starts the names of stored files, in contrast to the sockets of a socket unit.
const storePrefix = "kept."

// InheritedFiles returns the descriptors passed by the service manager: the sockets of the socket
// unit, and the files stored by services. Child processes inherit neither the files nor the
// variables.
func InheritedFiles() (sockets, stored []*os.File) { return sorted(activation.Files(true)) }

// sorted separates the two kinds by name.
func sorted(files []*os.File) (sockets, stored []*os.File) {
	for _, f := range files {
		if strings.HasPrefix(f.Name(), storePrefix) {
			stored = append(stored, f)
		} else {
			sockets = append(sockets, f)
		}
	}
	return sockets, stored
}

// FDStore is the fd store of the service manager for one service, such as systemd with
// FileDescriptorStoreMax. It keeps files for the next process of the service until they are dropped
// or the unit is stopped. Without a service manager it stores nothing.
type FDStore struct {
	notifier Notifier
	prefix   string

	mu     sync.Mutex
	stored []*os.File
}

// NewStore returns the store of a service. stored holds all inherited files.
func NewStore(n Notifier, service string, stored []*os.File) *FDStore {
	s := &FDStore{notifier: n, prefix: storePrefix + service + "."}
	for _, f := range stored {
		if strings.HasPrefix(f.Name(), s.prefix) {
			s.stored = append(s.stored, f)
		}
	}
	return s
}

// Inherited returns the files of the previous process by name, once. Several can have the same
// name. The caller closes them.
func (s *FDStore) Inherited() map[string][]*os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := map[string][]*os.File{}
	for _, f := range s.stored {
		name := strings.TrimPrefix(f.Name(), s.prefix)
		stored[name] = append(stored[name], f)
	}
	s.stored = nil
	return stored
}

// Available reports whether there is a service manager.
func (s *FDStore) Available() bool { return s.notifier.socket != "" }

// Put stores a file under a name and replaces the former one. A name has letters, digits, dots and
// dashes. The caller can close the file. The manager does not confirm that it stores it, so the
// service must not depend on it.
func (s *FDStore) Put(ctx context.Context, name string, file *os.File) error {
	if !s.Available() {
		return nil
	}
	if err := s.Drop(ctx, name); err != nil {
		return err
	}

	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}

	var sent error
	// With FDPOLL the manager would close a socket that reports an error.
	err = raw.Control(func(fd uintptr) {
		sent = s.notifier.notify(ctx, "FDSTORE=1\nFDPOLL=0\nFDNAME="+s.prefix+name,
			int(fd))
	})
	return errors.Join(err, sent)
}

// Clear does nothing. The manager closes the files with the unit.
func (s *FDStore) Clear(context.Context) error { return nil }

// Close does nothing. Changes are not buffered.
func (s *FDStore) Close() {}

// Drop removes a file from the store. It does nothing if it does not exist.
func (s *FDStore) Drop(ctx context.Context, name string) error {
	return s.notifier.notify(ctx, "FDSTOREREMOVE=1\nFDNAME="+s.prefix+name)
}
