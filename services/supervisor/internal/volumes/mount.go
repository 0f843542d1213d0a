package volumes

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// Acquire creates the directory of a volume if it is missing, and mounts what its options describe. It
// returns the directory of the data. Idempotent.
func (v *Volumes) Acquire(ctx context.Context, name string) (string, error) {
	unlock, err := v.locks.LockContext(ctx, name)
	if err != nil {
		return "", err
	}
	defer unlock()

	vol, err := v.Store.GetVolume(name)
	if err != nil {
		return "", err
	}
	m, err := vol.Mount()
	if err != nil {
		return "", err
	}
	if err := v.ensureDir(name); err != nil {
		return "", err
	}
	if m != nil {
		err = v.mount(ctx, name, m)
	}

	return v.Path(name), err
}

// mount mounts a file system on the directory of a volume. The lock of the volume must be held.
func (v *Volumes) mount(ctx context.Context, name string, m *volume.Mount) error {
	path := v.Path(name)
	if mounted, err := isMountPoint(path); mounted || err != nil {
		return err
	}

	m, err := resolved(ctx, m)
	if err == nil {
		err = unix.Mount(m.Device, path, m.Type, m.Flags, m.Data)
	}
	if err == nil && m.IsBind() && m.Flags&^(unix.MS_BIND|unix.MS_REC) != 0 { // a bind mount ignores other flags
		err = unix.Mount("", path, "", m.Flags|unix.MS_REMOUNT, "")
	}
	if err == nil && m.Propagation != 0 {
		err = unix.Mount("", path, "", m.Propagation, "")
	}
	if err != nil {
		hint := "check the options: fairlead volume inspect " + name
		if errors.Is(err, unix.ENODEV) {
			hint = "the kernel has no file system of this type: load its module with modprobe " + m.Type
		}
		err = fault.New(fault.Invalid, volume.Subject(name), "failed to mount local volume: mount "+m.Device+":"+path,
			fault.WithCause(err), fault.WithHint("%s", hint))
		return errors.Join(err, v.unmount(name))
	}

	return nil
}

// resolved replaces the host name in the option addr of a network file system: the kernel needs an
// address.
func resolved(ctx context.Context, m *volume.Mount) (*volume.Mount, error) {
	host, ok := m.Remote()
	if !ok {
		return m, nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return m, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(addrs) == 0 {
		return m, errors.Join(errors.New("cannot resolve "+host), err)
	}
	return m.WithRemote(addrs[0].Unmap().String()), nil
}

// isMountPoint reports whether a file system is mounted on a path.
func isMountPoint(path string) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &st)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil && !errors.Is(err, unix.ESTALE) && !errors.Is(err, unix.ENOTCONN) { // an unreachable server
		return false, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	return err != nil || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// unmount unmounts what is mounted on the directory of a volume. The lock of the volume must be held.
func (v *Volumes) unmount(name string) error {
	for range 16 { // stacked mounts
		mounted, err := isMountPoint(v.Path(name))
		if err != nil || !mounted {
			return err
		}
		if err := unix.Unmount(v.Path(name), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return diskFault(name, "cannot be unmounted", err)
		}
	}
	return fault.New(fault.Internal, volume.Subject(name), "too many stacked mounts")
}

// Release unmounts the named volumes that have options, unless inUse reports that a container still
// uses them.
func (v *Volumes) Release(ctx context.Context, names []string, inUse func(name string) bool) error {
	var errs []error
	for _, name := range names {
		vol, err := v.Store.GetVolume(name)
		if err != nil || len(vol.Options) == 0 {
			continue // a plain directory, or removed
		}
		errs = append(errs, v.release(ctx, name, inUse))
	}
	return errors.Join(errs...)
}

func (v *Volumes) release(ctx context.Context, name string, inUse func(string) bool) error {
	unlock, err := v.locks.LockContext(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	if inUse(name) {
		return nil
	}
	return v.unmount(name)
}

// Mounted returns the names of the volumes with options.
func (v *Volumes) Mounted() []string {
	var out []string
	for _, vol := range v.Store.ListVolumes() {
		if len(vol.Options) > 0 {
			out = append(out, vol.Name)
		}
	}
	return out
}
