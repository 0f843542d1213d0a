package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/copyspec"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/ctl/internal/localtree"
	"github.com/fairlead/fairlead/ctl/internal/terminal"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// The type bits of FileStat.mode.
const (
	typeBits      = 0o170000
	typeDirectory = 0o040000
	typeRegular   = 0o100000
	typeSymlink   = 0o120000
)

// copier is one call of cp.
type copier struct {
	c         *cli.CLI
	cl        *client.Client
	container string
	archive   bool
	follow    bool
	quiet     bool
}

// Copy returns the command `fairlead cp`.
func Copy(c *cli.CLI) *cobra.Command {
	var o copier
	cmd := &cobra.Command{
		Use:   "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n  fairlead cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
		Short: "Copy files between a container and the host",
		Long: `Copy files or directories between a container and this host. The container can be stopped.

SRC_PATH - reads a tar archive from standard input, DEST_PATH - writes one to standard output. A
directory with /. at its end stands for its content.

Paths in volumes and other mounts can be copied while the container runs. Copied files belong to root
of the container or to the caller, unless -a keeps their owners.`,
		Args: cli.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("quiet") {
				o.quiet = terminal.Of(c.Out) == nil
			}
			o.c = c
			return o.run(cmd.Context(), args[0], args[1])
		},
	}
	cmd.Flags().BoolVarP(&o.archive, "archive", "a", false, "Keep user and group IDs")
	cmd.Flags().BoolVarP(&o.follow, "follow-link", "L", false, "Follow a symlink in SRC_PATH")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "Print no result (default without a terminal)")
	return cmd
}

func (o *copier) run(ctx context.Context, from, to string) (err error) {
	source, src := copyspec.ParseArg(from)
	target, dst := copyspec.ParseArg(to)
	switch {
	case src == "":
		return errors.New("source can not be empty")
	case dst == "":
		return errors.New("destination can not be empty")
	case source != "" && target != "":
		return errors.New("copying between containers is not supported")
	case source == "" && target == "":
		return errors.New("must specify at least one container source")
	}

	if o.cl, err = o.c.Client(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.container = source; source != "" {
		return o.fromContainer(ctx, src, dst)
	}
	o.container = target
	return o.toContainer(ctx, src, dst)
}

// done reports a successful copy.
func (o *copier) done(n int64, to string) {
	if !o.quiet {
		_, _ = fmt.Fprintln(o.c.Err, "Successfully copied", format.Size(n), "to", to)
	}
}

func (o *copier) stat(ctx context.Context, name string) (*containerv1.FileStat, error) {
	res, err := o.cl.Files.StatPath(ctx, &containerv1.StatPathRequest{Reference: o.container, Path: name})
	return res.GetStat(), err
}

func isType(s *containerv1.FileStat, kind uint32) bool { return s.GetMode()&typeBits == kind }

func (o *copier) fromContainer(ctx context.Context, src, dst string) error {
	at := src
	if o.follow {
		st, err := o.stat(ctx, src)
		if err != nil {
			return err
		}
		if isType(st, typeSymlink) {
			at = st.GetLinkTarget()
		}
	}
	if dst == "-" && terminal.Of(o.c.Out) != nil {
		return errors.New("cowardly refusing to save to a terminal. Redirect standard output")
	}

	st, archive, err := o.cl.CopyFrom(ctx, o.container, at)
	if err != nil {
		return err
	}
	if dst == "-" {
		_, err := io.Copy(o.c.Out, archive)
		return err
	}
	to, err := localtree.Destination(dst)
	if err != nil {
		return err
	}
	dir, name, err := copyspec.Plan(copyspec.Path{Name: src, Exists: true, IsDir: isType(st, typeDirectory)}, to)
	if err != nil {
		return err
	}

	in := &counter{Reader: archive}
	into := localtree.Into{Dir: dir, From: st.GetName(), To: name, KeepOwner: o.archive}
	if err := localtree.Extract(in, into); err != nil {
		return err
	}
	o.done(in.n, to.Name)
	return nil
}

// destination describes a path of the container. A symlink is followed.
func (o *copier) destination(ctx context.Context, name string) (copyspec.Path, error) {
	st, err := o.stat(ctx, name)
	if err == nil && isType(st, typeSymlink) {
		name = st.GetLinkTarget()
		st, err = o.stat(ctx, name)
	}
	var missing *fault.Fault
	if errors.As(err, &missing) && missing.Kind == fault.NotFound && missing.Field == "path" {
		return copyspec.Path{Name: name}, nil
	}
	if err != nil {
		return copyspec.Path{}, err
	}
	if !isType(st, typeDirectory) && !isType(st, typeRegular) {
		return copyspec.Path{}, fmt.Errorf("destination %q must be a directory or a regular file",
			o.container+":"+name)
	}
	return copyspec.Path{Name: name, Exists: true, IsDir: isType(st, typeDirectory)}, nil
}

func (o *copier) toContainer(ctx context.Context, src, dst string) error {
	to, err := o.destination(ctx, dst)
	if err != nil {
		return err
	}
	target := &containerv1.CopyTarget{Reference: o.container, Path: to.Name, KeepOwner: o.archive}
	if src == "-" {
		if !to.IsDir {
			return fmt.Errorf("destination %q must be a directory", o.container+":"+dst)
		}
		return o.cl.CopyTo(ctx, target, o.c.In)
	}

	from, at, err := localtree.Source(src, o.follow)
	if err != nil {
		return err
	}
	dir, name, err := copyspec.Plan(from, to)
	if err != nil {
		return err
	}
	target.Path = path.Join("/", dir)

	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(localtree.Write(ctx, w, at, name)) }()
	in := &counter{Reader: r}
	err = o.cl.CopyTo(ctx, target, in)
	_ = r.Close() // stops the writer
	if err == nil {
		o.done(in.n, o.container+":"+dst)
	}
	return err
}

// counter counts what is read.
type counter struct {
	io.Reader
	n int64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}
