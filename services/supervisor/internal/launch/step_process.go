package launch

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/bindsource"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
	"github.com/fairlead/fairlead/services/supervisor/internal/users"
)

// startMonitor starts conmon, which initializes concurrently with the following steps.
func (l *launch) startMonitor(after string) saga.Step {
	return saga.Step{
		Name: startMonitor, After: needs(after),
		Do: func(ctx context.Context) (err error) {
			dir := l.r.Dir(l.id)
			if err := os.MkdirAll(dir, rootfs.DirectoryMode|rootfs.Disposable); err != nil {
				return fault.New(fault.Unavailable, "directory "+dir, "cannot be created", fault.WithCause(err))
			}
			cfg := &l.req.Config
			limit := l.r.LogLimit(cfg)
			size, err := l.r.LogFiles.Begin(dir, limit)
			if err = errors.Join(err, l.r.LogFiles.Track(dir, limit)); err != nil {
				return fault.New(fault.Unavailable, "log "+l.r.LogPath(l.id), "cannot be rotated", fault.WithCause(err))
			}
			l.live.LogSize, l.live.LogFiles = limit.Size, limit.Files
			l.monitor, err = l.r.Processes.Prepare(ctx, runtime.Launch{ID: l.id, Runtime: cfg.Runtime,
				TTY: cfg.TTY, OpenStdin: cfg.OpenStdin, Attach: l.req.Attach || len(l.waiters) > 0,
				StdinOnce: cfg.StdinOnce, Output: sinkOf(l, size)})
			return err
		},
		Undo: l.deleteProcess,
	}
}

// createProcess creates the container in the OCI runtime, without starting the process.
func (l *launch) createProcess() saga.Step {
	after := []string{startMonitor, prepareRootfs, mountVolumes, registerNames}
	if l.isShareable() {
		after = append(after, mountSharedMemory)
	}

	return saga.Step{
		Name: createProcess, After: after,
		Do: func(ctx context.Context) (err error) {
			if l.createdSources, err = bindsource.Create(l.req.Config.Mounts); err != nil {
				return err
			}
			return l.create(ctx)
		},
		Undo: func(ctx context.Context) error {
			err := l.deleteProcess(ctx)
			l.createdSources.Remove()
			return err
		},
	}
}

// create builds the specification and creates the container. The sources of all mounts exist.
func (l *launch) create(ctx context.Context) (err error) {
	mounts := l.req.Config.Mounts
	if l.fresh {
		if err := l.r.fill(ctx, mounts, l.rootfs, l.targets); err != nil {
			return err
		}
	}

	sources, closeAll, err := openSources(l.id, mounts, l.sources)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()

	opts, err := l.specOptions(sources)
	if err != nil {
		return err
	}
	s, err := spec.Build(opts)
	if err == nil {
		err = applyEdits(container.Subject(l.req.Config.Name), l.edits, s)
	}
	if err != nil {
		return err
	}
	l.live.PID, err = l.monitor.Create(ctx, s)
	return err
}

// deleteProcess kills and deletes the container's processes. It is the undo of two steps: the second call
// does nothing unless the first one failed.
func (l *launch) deleteProcess(ctx context.Context) error {
	if l.deleted {
		return nil
	}
	defer l.r.LogFiles.Untrack(l.r.Dir(l.id))
	err := l.r.Processes.Delete(ctx, l.id)
	l.deleted = err == nil
	return err
}

func (l *launch) specOptions(sources []source) (spec.Options, error) {
	p := l.process
	cfg := &l.req.Config
	user, err := users.Resolve(l.rootfs, p.User, cfg.Security.Groups...)
	if err != nil {
		return spec.Options{}, err
	}

	numbers, err := blockDevices(container.Subject(cfg.Name), cfg.Resources)
	if err != nil {
		return spec.Options{}, err
	}

	security, err := container.ParseSecurityOptions(container.Subject(cfg.Name), cfg.Security.Options)
	if err != nil {
		return spec.Options{}, err
	}

	limits, f := &cfg.Resources, l.live.Files
	opts := spec.Options{
		PidsLimit: l.r.Defaults.PidsLimit, Resources: *limits, BlockDevices: numbers,
		Security: cfg.Security, SecurityOptions: security, DefaultSeccomp: l.r.Defaults.Seccomp,
		Annotations: cfg.Annotations,
		Host:        l.r.Host, Rootfs: l.rootfs, Hostname: f.HostName, HostUTS: l.req.Config.UTS == container.UTSHost,
		NetNS: l.live.NetnsPath, CgroupPath: l.r.Cgroup.Below(cfg.Namespaces.CgroupParent).Path(l.id),
		Sysctls: l.req.Config.AllSysctls(), HostnameFile: f.Hostname, HostsFile: f.Hosts, ResolvConfFile: f.ResolvConf,
		Process: spec.Process{Args: p.Args, Env: p.Env, WorkingDir: p.WorkingDir, User: user, TTY: l.req.Config.TTY,
			Rows: l.req.Rows, Cols: l.req.Cols, OOMScoreAdj: limits.OOMScoreAdj,
			Ulimits: resource.MergeUlimits(limits.Ulimits, l.r.Defaults.Ulimits)},
	}

	if opts.Devices, err = deviceNodes(cfg); err != nil {
		return opts, err
	}
	if err := l.joinNamespaces(&opts); err != nil {
		return opts, err
	}
	if l.runsInit() {
		opts.Init, opts.InitTarget = l.r.Defaults.InitPath, l.targets[len(l.targets)-1]
	}

	for i, m := range l.req.Config.Mounts {
		opts.Mounts = append(opts.Mounts, specMount(m, l.targets[i], sources[i]))
	}

	return opts, nil
}

// runsInit reports whether the container's first process is an init process.
func (l *launch) runsInit() bool { return l.req.Config.Init != nil && *l.req.Config.Init }

func specMount(m container.Mount, target string, s source) spec.Mount {
	if m.Type == container.TmpfsMount {
		return spec.Mount{Target: target, Tmpfs: true, ReadOnly: m.ReadOnly, Size: m.TmpfsSize, Mode: m.TmpfsMode,
			Options: m.TmpfsOptions}
	}
	return spec.Mount{Source: s.path, Target: target, ReadOnly: m.ReadOnly || m.Type == container.ImageMount,
		Propagation: m.Propagation, NonRecursive: m.NonRecursive, File: s.file}
}

// attachOutput connects to the process before it starts, so that no output is lost.
func (l *launch) attachOutput() saga.Step {
	return saga.Step{
		Name: attachOutput, After: []string{createProcess},
		Do: func(ctx context.Context) (err error) {
			l.output, err = l.r.Processes.Attach(ctx, l.id)
			if err == nil && l.req.Config.TTY && l.req.Rows > 0 && l.req.Cols > 0 {
				err = l.output.Resize(l.req.Rows, l.req.Cols)
			}
			return err
		},
		Undo: func(context.Context) error {
			if l.output == nil {
				return nil // it was not opened by this agent
			}
			return l.output.Close()
		},
	}
}

// startProcess starts the process and stores the running container.
func (l *launch) startProcess() saga.Step {
	after := []string{createProcess}
	if l.publishes() {
		after = append(after, publishPorts)
	}
	if _, joined := l.req.Config.Network.Mode.Joined(); !joined {
		after = append(after, applyPolicy)
	}

	if l.req.Attach {
		after = append(after, attachOutput)
	}

	if len(l.waiters) > 0 {
		after = append(after, attachWaiting)
	}

	return saga.Step{
		Name: startProcess, After: after,
		Do: func(ctx context.Context) error {
			// Rules can apply since it joined a network.
			if err := l.r.Policies.CheckPrivileges(l.live.SharedWith, l.name, &l.req.Config.Security); err != nil {
				return err
			}
			if err := l.r.markStarting(l.id); err != nil {
				return err
			}
			l.processStarted = true
			if err := l.r.Processes.Start(ctx, l.id); err != nil {
				return err
			}
			c, err := l.r.Store.UpdateContainer(l.id, func(c *container.Container) *container.Container {
				n := c.Started(l.live, time.Now())
				if n.Restarts.At = (time.Time{}); !l.policy {
					n.Restarts = container.Restarts{}
				}
				return n
			})
			if l.c = c; err == nil {
				l.r.UnmarkStarting(l.id)
			}
			return err
		},
		Undo: func(context.Context) error {
			l.r.UnmarkStarting(l.id)
			return nil
		},
	}
}
