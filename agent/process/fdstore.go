package process

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"
)

// storePrefix begins the names of what services leave with the manager, and tells it from the sockets of a socket unit.
const storePrefix = "kept."

// InheritedFiles takes over the descriptors that the service manager handed to this process at its start: the sockets of its socket unit, and
// what services left with the manager. What this process starts gets neither them nor the variables that tell of them.
func InheritedFiles() (sockets, left []*os.File) { return sorted(activation.Files(true)) }

// sorted tells the two kinds apart by the names that the manager has for them.
func sorted(handed []*os.File) (sockets, left []*os.File) {
	for _, f := range handed {
		if strings.HasPrefix(f.Name(), storePrefix) {
			left = append(left, f)
		} else {
			sockets = append(sockets, f)
		}
	}
	return sockets, left
}

// FDStore is where a service leaves open files for the process that comes after it: the manager's, such as systemd's with
// FileDescriptorStoreMax. It has them until this process drops them or the unit is stopped for good. Without a manager it keeps
// nothing.
type FDStore struct {
	notifier Notifier
	prefix   string

	mu   sync.Mutex
	left []*os.File
}

// NewStore makes a service's own store, with those of the files that were left which are the service's.
func NewStore(n Notifier, service string, left []*os.File) *FDStore {
	s := &FDStore{notifier: n, prefix: storePrefix + service + "."}
	for _, f := range left {
		if strings.HasPrefix(f.Name(), s.prefix) {
			s.left = append(s.left, f)
		}
	}
	return s
}

// Inherited gives the files that the process before has left, by name, once; several may have one name. They are the caller's to close.
func (s *FDStore) Inherited() map[string][]*os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := map[string][]*os.File{}
	for _, f := range s.left {
		name := strings.TrimPrefix(f.Name(), s.prefix)
		left[name] = append(left[name], f)
	}
	s.left = nil
	return left
}

// Available tells whether there is a manager to leave files with.
func (s *FDStore) Available() bool { return s.notifier.socket != "" }

// Put leaves a file under a name, in place of what was there. A name has letters, digits, dots and dashes. The caller closes the file; the
// manager has a descriptor of its own. It does not say whether it keeps it, so something else must help where it does not.
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
	var told error
	// Without FDPOLL the manager would close a socket that has an error to tell.
	err = raw.Control(func(fd uintptr) { told = s.notifier.notify(ctx, "FDSTORE=1\nFDPOLL=0\nFDNAME="+s.prefix+name, int(fd)) })
	return errors.Join(err, told)
}

// Clear does nothing: the manager closes what it keeps with its unit.
func (s *FDStore) Clear(context.Context) error { return nil }

// Close does nothing: each change is the manager's when it is made.
func (s *FDStore) Close() {}

// Drop takes back what is under a name. No error if there is nothing.
func (s *FDStore) Drop(ctx context.Context, name string) error {
	return s.notifier.notify(ctx, "FDSTOREREMOVE=1\nFDNAME="+s.prefix+name)
}
