package beneath

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Graft is a directory or file that is mounted in a tree.
type Graft struct {
	Source    int    // an O_PATH descriptor
	Target    string // path below the root; symlinks are resolved below it. OpenGrafted stores the result
	File      bool   // the source is not a directory
	ReadOnly  bool
	Recursive bool // with the mounts below the source
	Detached  bool // the source is a mount that is not attached anywhere, as of EmptyTmpfs
}

// Grafted is a tree with mounts that no other process sees.
type Grafted struct {
	Root *Root
	end  chan struct{}
	done chan struct{}
}

// OpenGrafted opens a mount point with grafts, in a mount namespace of its own. Missing targets are
// created. Close must be called.
func OpenGrafted(path string, grafts []Graft) (*Grafted, error) {
	if err := ensureTargets(path, grafts); err != nil {
		return nil, err
	}

	var clones []int
	defer func() {
		for _, fd := range clones {
			_ = unix.Close(fd)
		}
	}()
	for _, g := range grafts {
		fd, err := g.clone()
		if err != nil {
			return nil, &os.PathError{Op: "mount", Path: g.Target, Err: err}
		}
		clones = append(clones, fd)
	}

	g := &Grafted{end: make(chan struct{}), done: make(chan struct{})}
	ready := make(chan error, 1)
	go g.run(path, grafts, clones, ready)
	if err := <-ready; err != nil {
		<-g.done
		return nil, err
	}

	return g, nil
}

// ensureTargets creates missing targets, and resolves the symlinks in them. Below another target nothing
// is created.
func ensureTargets(path string, grafts []Graft) error {
	root, err := Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	var mounted []string
	for i := range grafts {
		g := &grafts[i]
		kind := Directory
		if g.File {
			kind = File
		}
		if g.Target, err = root.Ensure(g.Target, kind, mounted...); err != nil {
			return &os.PathError{Op: "mount", Path: g.Target, Err: err}
		}
		mounted = append(mounted, g.Target)
	}
	return nil
}

// Close closes the tree and unmounts what was mounted in it.
func (g *Grafted) Close() error {
	err := g.Root.Close()
	close(g.end)
	<-g.done
	return err
}

// clone returns a copy of the mount of the source that is not attached anywhere.
func (g Graft) clone() (int, error) {
	if g.Detached {
		return unix.FcntlInt(uintptr(g.Source), unix.F_DUPFD_CLOEXEC, 0)
	}
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	var recursive uint
	if g.Recursive {
		recursive = unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(g.Source, "", flags|recursive)
	if err != nil || !g.ReadOnly {
		return fd, err
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|recursive, attr); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// run holds the mount namespace on a thread that ends with it.
func (g *Grafted) run(path string, grafts []Graft, clones []int, ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() { // the namespace of the main thread is that of the process
		defer runtime.UnlockOSThread()
		inner := make(chan struct{})
		go func() {
			defer close(inner)
			g.run(path, grafts, clones, ready)
		}()
		<-inner
		return
	}

	// The goroutine never unlocks: the Go runtime ends the thread with it.
	defer close(g.done)
	host, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		ready <- err
		return
	}
	defer func() { _ = unix.Close(host) }()
	err = g.enter(path, grafts, clones)
	if ready <- err; err == nil {
		<-g.end
	}
	_ = unix.Setns(host, unix.CLONE_NEWNS) // unmount now, not when the kernel ends the thread
}

// enter creates the namespace and opens the tree. Other mounts of the host are not in the namespace, so
// that they can be removed meanwhile.
func (g *Grafted) enter(path string, grafts []Graft, clones []int) (err error) {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	if err := unix.Chdir(path); err != nil {
		return &os.PathError{Op: "chdir", Path: path, Err: err}
	}
	if unix.PivotRoot(".", ".") == nil { // not from an initial ramdisk
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return os.NewSyscallError("unmount", err)
		}
		path = "/"
	}
	root, err := Open(path)
	if err != nil {
		return err
	}

	for i, graft := range grafts {
		if err := root.attach(graft.Target, clones[i]); err != nil {
			return errors.Join(fmt.Errorf("mount %s: %w", graft.Target, err), root.Close())
		}
	}
	g.Root = root
	return nil
}

// attach mounts a clone. Without the target, which is in another graft then, it mounts nothing.
func (r *Root) attach(target string, clone int) error {
	at, err := r.OpenAny(target)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(at) }()
	return unix.MoveMount(clone, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}
