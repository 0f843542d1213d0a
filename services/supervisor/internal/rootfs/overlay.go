package rootfs

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxParameter is the longest value of fsconfig. maxOptions is one page, the limit of all mount(2)
// options together.
const (
	maxParameter = 255
	maxOptions   = 4095
)

// overlay describes an overlay mount. lowers are topmost first. Without upper it is read-only.
type overlay struct {
	lowers      []string
	upper, work string
}

// copies are the options that keep the upper directory complete: a renamed directory and the content of
// a file with changed attributes are copied, not referred to. Some kernels are built with other defaults.
var copies = [][2]string{{"redirect_dir", "off"}, {"metacopy", "off"}}

// mount passes each layer as a parameter (Linux 6.8), or falls back to mount(2). If both fail, it
// returns both errors.
func (o *overlay) mount(target string) error {
	if !o.fitsParameters() {
		return o.mountByOptions(target)
	}
	err := o.mountByParameters(target)
	if !unknownParameter(err) {
		return err
	}
	if older := o.mountByOptions(target); older != nil {
		return errors.Join(older, err)
	}
	return nil
}

func (o *overlay) fitsParameters() bool {
	for _, l := range o.lowers {
		if len(l) > maxParameter {
			return false
		}
	}
	return len(o.upper) <= maxParameter && len(o.work) <= maxParameter
}

// errStep is the failure of one step, to recognize calls that an older kernel does not support.
type errStep struct {
	step string
	err  error
}

func (e *errStep) Error() string { return e.step + ": " + e.err.Error() }

func (e *errStep) Unwrap() error { return e.err }

const (
	lowerStep  = "fsconfig lowerdir+"
	createStep = "fsconfig create"
)

// unknownParameter reports whether an error means that the kernel is too old for layers as
// parameters. Linux 6.5 to 6.7 reject the parameter. Earlier versions reject all parameters when
// the file system is created.
func unknownParameter(err error) bool {
	var s *errStep
	if !errors.As(err, &s) {
		return false
	}
	return errors.Is(err, unix.ENOSYS) || (s.step == lowerStep || s.step == createStep) && errors.Is(err, unix.EINVAL)
}

func (o *overlay) mountByParameters(target string) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return &errStep{"fsopen overlay", err}
	}
	defer unix.Close(fs)
	for _, l := range o.lowers {
		if err := unix.FsconfigSetString(fs, "lowerdir+", l); err != nil {
			return &errStep{lowerStep, err}
		}
	}

	if o.upper != "" {
		if err := errors.Join(unix.FsconfigSetString(fs, "upperdir", o.upper),
			unix.FsconfigSetString(fs, "workdir", o.work)); err != nil {
			return &errStep{"fsconfig upperdir, workdir", err}
		}
	}

	for _, o := range copies {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return &errStep{"fsconfig " + o[0], err}
		}
	}

	if err := unix.FsconfigCreate(fs); err != nil {
		return &errStep{createStep, withLog(fs, err)}
	}

	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return &errStep{"fsmount", err}
	}
	defer unix.Close(mnt)
	if err := unix.MoveMount(mnt, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &errStep{"move_mount", err}
	}

	return nil
}

// withLog adds the kernel's message for the failure, which otherwise is only in the kernel log.
func withLog(fs int, err error) error {
	buf := make([]byte, 1024)
	n, rerr := unix.Read(fs, buf)
	if rerr != nil || n <= 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.TrimSpace(strings.TrimPrefix(string(buf[:n]), "e ")))
}

// mountByOptions passes all directories in one page, each as the short path of a file descriptor.
func (o *overlay) mountByOptions(target string) error {
	var open []int
	defer func() {
		for _, fd := range open {
			_ = unix.Close(fd)
		}
	}()

	name := func(path string) (string, error) {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", &os.PathError{Op: "open", Path: path, Err: err}
		}
		open = append(open, fd)
		return fmt.Sprintf("/proc/self/fd/%d", fd), nil
	}
	above := []string{o.upper, o.work}
	if o.upper == "" {
		above = nil
	}
	names := make([]string, 0, len(o.lowers)+2)
	for _, path := range append(above, o.lowers...) {
		n, err := name(path)
		if err != nil {
			return err
		}
		names = append(names, n)
	}

	options := "lowerdir=" + strings.Join(names[len(above):], ":")
	if len(above) > 0 {
		options = "upperdir=" + names[0] + ",workdir=" + names[1] + "," + options
	}
	for _, o := range copies {
		options += "," + o[0] + "=" + o[1]
	}
	if len(options) > maxOptions {
		return fmt.Errorf("cannot mount %d layers with this kernel: Linux 6.8 or later is required", len(o.lowers))
	}

	if err := unix.Mount("overlay", target, "overlay", 0, options); err != nil {
		return os.NewSyscallError("mount overlay", err)
	}

	return nil
}

// explain adds the path of a missing layer, for which the kernel only returns ENOENT.
func (o *overlay) explain(err error) error {
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	for _, l := range o.lowers {
		if _, serr := os.Stat(l); serr != nil {
			return fmt.Errorf("a layer of its image is missing, pull the image again: %w", serr)
		}
	}
	return err
}
