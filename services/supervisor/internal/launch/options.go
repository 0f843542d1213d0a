package launch

import (
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/device"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
)

// prepare checks a requested configuration and applies the agent's defaults to it. launch.validate
// compares it with the host.
func (r *Launcher) prepare(cfg *container.Config) error {
	cfg.Network = cfg.Network.Normalized()
	if err := cfg.Validate(); err != nil {
		return err
	}
	*cfg = cfg.WithDefaults(r.Defaults)
	return nil
}

// checkHost returns a fault for an option that the kernel or the agent's privileges cannot enforce.
func (r *Launcher) checkHost(cfg *container.Config) error {
	subject := container.Subject(cfg.Name)
	if err := r.Cgroup.Check(subject, cfg.Resources); err != nil {
		return err
	}
	if err := r.Host.CheckUlimits(subject, "ulimit", cfg.Resources.Ulimits); err != nil {
		return err
	}
	if err := r.Host.CheckOOMScoreAdj(subject, cfg.Resources.OOMScoreAdj); err != nil {
		return err
	}
	if err := r.Host.CheckSecurity(subject, &cfg.Security, cfg.Namespaces); err != nil {
		return err
	}
	if err := r.checkInit(subject, cfg); err != nil {
		return err
	}
	if err := checkJournal(subject, cfg); err != nil {
		return err
	}
	if _, err := blockDevices(subject, cfg.Resources); err != nil || len(cfg.Security.Devices) == 0 {
		return err
	}
	_, err := deviceNodes(cfg)
	return err
}

// checkInit returns a fault if the container needs an init program that does not exist.
func (r *Launcher) checkInit(subject string, cfg *container.Config) error {
	if cfg.Init == nil || !*cfg.Init || r.Defaults.InitPath != "" {
		return nil
	}
	return fault.New(fault.Invalid, subject, `exec: "docker-init": executable file not found in $PATH`,
		fault.WithField("init"), fault.WithHint("install the package catatonit, or set init-path"))
}

// blockDevices returns the numbers of the block devices with limits, by path.
func blockDevices(subject string, r resource.Limits) (map[string]spec.DeviceNumber, error) {
	lists := []struct {
		option string
		rates  []resource.DeviceRate
	}{
		{"blkio-weight-device", r.BlkioWeightDevices},
		{"device-read-bps", r.DeviceReadBps}, {"device-write-bps", r.DeviceWriteBps},
		{"device-read-iops", r.DeviceReadIOps}, {"device-write-iops", r.DeviceWriteIOps},
	}
	var out map[string]spec.DeviceNumber
	for _, list := range lists {
		for _, d := range list.rates {
			n, err := device.Block(subject, list.option, d.Path)
			if err != nil {
				return nil, err
			}
			if out == nil {
				out = map[string]spec.DeviceNumber{}
			}
			out[d.Path] = spec.DeviceNumber{Major: n.Major, Minor: n.Minor}
		}
	}

	return out, nil
}
