package container

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/containerflags"
	"github.com/fairlead/fairlead/ctl/internal/envspec"
	"github.com/fairlead/fairlead/ctl/internal/mountspec"
	"github.com/fairlead/fairlead/ctl/internal/networkspec"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// options holds the common flags of run and create.
type options struct {
	publishIgnored                                        string
	name, workdir, user, entrypoint, hostname, domainname string
	runtime, platform, pull, stopSignal                   string
	ip, ip6, mac                                          string
	networks, aliases                                     []string
	bandwidth                                             string
	packets                                               string
	maxConnections                                        uint32
	egress, ingress                                       []string
	env, envFiles, volumes, mounts, labels                []string
	volumesFrom, tmpfs                                    []string
	volumeDriver                                          string
	dns, dnsSearch, dnsOptions, hosts, publish, expose    []string
	stopTimeout                                           seconds
	stdin, tty, remove, publishAll, quiet                 bool
	publishAddress                                        []string
	linkLocal, links, sysctls                             []string
	uts                                                   string
	keepNetns                                             bool
	labelFiles                                            []string
	cidFile                                               string
	limits                                                containerflags.Resources
	privileges                                            containerflags.Security
	restart                                               string
	health                                                containerflags.Health
	streams                                               streams
}

// flags adds the flags to a command. An entrypoint or a stop timeout that is not given differs from
// its default, so config checks the flag set.
func (o *options) flags(f *pflag.FlagSet) {
	f.SetInterspersed(false) // flags after the image belong to the command
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name {
		case "net":
			name = "network"
		case "net-alias":
			name = "network-alias"
		case "dns-opt":
			name = "dns-option"
		case "keep-network":
			name = "keep-netns"
		}
		return pflag.NormalizedName(name)
	})
	o.identityFlags(f)
	o.processFlags(f)
	o.networkFlags(f)
	o.limits.Add(f)
	o.privileges.Add(f)
	o.health.Add(f)
}

func (o *options) identityFlags(f *pflag.FlagSet) {
	f.StringVar(&o.name, "name", "", "Container name (default: generated)")
	f.StringArrayVarP(&o.labels, "label", "l", nil, "Set a label: KEY[=VALUE]")
	f.StringArrayVar(&o.labelFiles, "label-file", nil, "Read labels from a file")
	f.StringVar(&o.cidFile, "cidfile", "", "Write the container ID to a new file")
	f.StringVar(&o.platform, "platform", "", "Image platform: OS/ARCH[/VARIANT] (default: the host's)")
	f.StringVar(&o.pull, "pull", "missing", "Pull the image: always, missing or never")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Suppress pull progress")
	f.BoolVar(&o.remove, "rm", false, "Remove the container when it exits")
	f.StringVar(&o.runtime, "runtime", "", "OCI runtime: name or absolute path")
	f.StringVar(&o.stopSignal, "stop-signal", "", "Signal that stops the container")
	f.StringVar(&o.restart, "restart", "no", containerflags.RestartUsage)
	o.stopTimeout = 10
	f.Var(&o.stopTimeout, "stop-timeout", "Seconds between the stop signal and SIGKILL (-1: no limit)")
}

func (o *options) processFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.stdin, "interactive", "i", false, "Keep standard input open")
	o.streams.flag(f)
	f.BoolVarP(&o.tty, "tty", "t", false, "Allocate a terminal")
	f.StringVar(&o.entrypoint, "entrypoint", "", "Override the image's entrypoint (empty: none)")
	f.StringArrayVarP(&o.env, "env", "e", nil, "Set an environment variable: KEY=VALUE, or KEY to copy it")
	f.StringArrayVar(&o.envFiles, "env-file", nil, "Read environment variables from a file")
	f.StringVarP(&o.workdir, "workdir", "w", "", "Working directory")
	f.StringVarP(&o.user, "user", "u", "", "User: USER[:GROUP], names or IDs")
	f.StringArrayVarP(&o.volumes, "volume", "v", nil, "Mount a volume or host path: [SOURCE:]TARGET[:OPTIONS]")
	f.StringArrayVar(&o.tmpfs, "tmpfs", nil, "Mount a tmpfs: PATH[:OPTION,...], as in /run:rw,size=64m")
	f.StringArrayVar(&o.mounts, "mount", nil, "Mount: type=bind|volume|tmpfs|image,source=,target=")
	f.StringArrayVar(&o.volumesFrom, "volumes-from", nil, "Mount the volumes of a container: CONTAINER[:ro]")
	f.StringVar(&o.volumeDriver, "volume-driver", "", "Driver of new volumes (local)")
}

func (o *options) networkFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.networks, "network", nil, "Network: NAME, none, host or container:NAME (see above)")
	f.StringVar(&o.ip, "ip", "", "IPv4 address on the first network")
	f.StringVar(&o.ip6, "ip6", "", "IPv6 address on the first network")
	f.StringArrayVar(&o.linkLocal, "link-local-ip", nil, "Link-local address on the first network")
	f.StringVar(&o.mac, "mac-address", "", "MAC address on the first network")
	f.StringArrayVar(&o.aliases, "network-alias", nil, "DNS alias on the first network")
	f.StringArrayVar(&o.links, "link", nil, "Add a DNS name for another container: CONTAINER[:ALIAS]")
	f.StringArrayVar(&o.sysctls, "sysctl", nil, "Set a namespaced kernel parameter: NAME=VALUE")
	f.BoolVar(&o.keepNetns, "keep-netns", true, "Keep the network namespace for joined containers")
	f.StringArrayVarP(&o.publish, "publish", "p", nil, "Publish a port: [IP:][HOST_PORT:]PORT[/PROTO][,from=CIDR]")
	f.StringArrayVar(&o.publishAddress, "publish-address", nil,
		"Forward all traffic for a host IP: IP[,snat=false][,from=CIDR]")
	f.StringVar(&o.publishIgnored, "publish-ignored", ignoredRefused, "Handle -p with --network host: refuse or warn")
	f.BoolVarP(&o.publishAll, "publish-all", "P", false, "Publish all exposed ports on ephemeral host ports")
	f.StringArrayVar(&o.expose, "expose", nil, "Expose a port: PORT[-END][/PROTO]")
	f.StringVarP(&o.hostname, "hostname", "h", "", "Hostname")
	f.StringVar(&o.uts, "uts", "", "UTS namespace (host: use the host's hostname)")
	f.StringVar(&o.domainname, "domainname", "", "Domain name (NIS)")
	f.StringArrayVar(&o.dns, "dns", nil, "DNS server")
	f.StringArrayVar(&o.dnsSearch, "dns-search", nil, "DNS search domain (\".\" for none)")
	f.StringArrayVar(&o.dnsOptions, "dns-option", nil, "Resolver option, as in resolv.conf")
	f.StringArrayVar(&o.egress, "egress", nil, "Allow only these destinations: [!]PEER[:PORT][/PROTO],... or none")
	f.StringArrayVar(&o.ingress, "ingress", nil, "Allow only these sources: [!]PEER[:PORT][/PROTO],... or none")
	f.Uint32Var(&o.maxConnections, "max-connections", 0, "Limit of open connections from and to it (0: none)")
	f.StringVar(&o.packets, "packets", "", "Limit of packets a second: in=NUMBER,out=NUMBER, or none")
	f.StringVar(&o.bandwidth, "bandwidth", "", "Limit of each network: in=RATE,out=RATE, such as 10mbit, or none")
	f.StringArrayVar(&o.hosts, "add-host", nil, "Add a hosts entry: NAME:IP or NAME:host-gateway")
}

// config returns the container configuration for the flags, the image and the command.
func (o *options) config(c *cli.CLI, f *pflag.FlagSet, args []string) (*containerv1.ContainerConfig, error) {
	cfg := &containerv1.ContainerConfig{
		Name: o.name, Image: args[0], Command: args[1:], WorkingDir: o.workdir, User: o.user, Tty: o.tty,
		OpenStdin:  o.stdin,
		AutoRemove: o.remove, Uts: o.uts, Runtime: o.runtime, Platform: o.platform, StopSignal: o.stopSignal,
		Dns: &containerv1.DnsConfig{Hostname: o.hostname, Domainname: o.domainname, Search: o.dnsSearch,
			Options: o.dnsOptions},
	}
	cfg.Resources = o.limits.Values(f)
	if f.Changed("entrypoint") {
		cfg.Entrypoint = []string{o.entrypoint}
	}

	var err error
	if cfg.Sysctls, err = networkspec.ParseKeyValues("sysctl", o.sysctls); err != nil {
		return nil, err
	}
	if err := o.privileges.Apply(f, cfg); err != nil {
		return nil, err
	}
	if err = o.setStreams(cfg, false); err != nil {
		return nil, err
	}
	if cfg.HealthCheck, err = o.health.Value(); err != nil {
		return nil, err
	}
	if f.Changed("restart") {
		if cfg.Restart, err = containerflags.ParseRestart(o.restart); err != nil {
			return nil, err
		}
	}
	if f.Changed("stop-timeout") {
		cfg.StopTimeout = o.stopTimeout.wire()
	}

	for _, add := range []func(*cli.CLI, *containerv1.ContainerConfig) error{o.addPull, o.addEnv, o.addMounts,
		o.addLabels, o.addNetwork, o.addDNS} {
		if err := add(c, cfg); err != nil {
			return nil, err
		}
	}

	cfg.Network.UnlimitedConnections = f.Changed("max-connections") && o.maxConnections == 0
	return cfg, nil
}

// setStreams sets the attached streams. Input that a client attaches ends with that client.
func (o *options) setStreams(cfg *containerv1.ContainerConfig, detach bool) error {
	if err := o.streams.check(detach); err != nil {
		return err
	}
	cfg.Attach = o.streams.names
	cfg.StdinOnce = o.stdin && slices.Contains(o.streams.attached(o.stdin, detach), "stdin")
	return nil
}

func (o *options) addPull(_ *cli.CLI, cfg *containerv1.ContainerConfig) error {
	policies := map[string]containerv1.PullPolicy{
		"always": containerv1.PullPolicy_PULL_POLICY_ALWAYS, "missing": containerv1.PullPolicy_PULL_POLICY_MISSING,
		"never": containerv1.PullPolicy_PULL_POLICY_NEVER,
	}
	var ok bool
	if cfg.Pull, ok = policies[o.pull]; !ok {
		return fmt.Errorf(`invalid pull option: '%s': must be one of "always", "missing" or "never"`, o.pull)
	}
	return nil
}

func (o *options) addEnv(c *cli.CLI, cfg *containerv1.ContainerConfig) (err error) {
	cfg.Env, err = environment(c, o.env, o.envFiles)
	return err
}

// environment returns the variables of --env-file, then those of -e.
func environment(c *cli.CLI, env, files []string) ([]string, error) {
	var all []string
	for _, name := range files {
		vars, err := environmentFile(c, name)
		if err != nil {
			return nil, err
		}
		all = append(all, vars...)
	}
	vars, err := envspec.Parse(env, c.LookupEnv)
	return append(all, vars...), err
}

func environmentFile(c *cli.CLI, name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "--env-file "+name, "cannot be read", fault.WithField("env-file"),
			fault.WithCause(err))
	}
	defer func() { _ = f.Close() }()
	return envspec.ParseFile(name, f, c.LookupEnv)
}

func (o *options) addMounts(_ *cli.CLI, cfg *containerv1.ContainerConfig) error {
	wd, err := os.Getwd()
	if err != nil {
		wd = "" // relative paths are then rejected
	}

	parse := func(specs []string, read func(spec, wd string) (mountspec.Mount, error)) error {
		for _, spec := range specs {
			m, err := read(spec, wd)
			if err != nil {
				return err
			}
			cfg.Mounts = append(cfg.Mounts, o.mount(m))
		}
		return nil
	}
	cfg.VolumesFrom = o.volumesFrom
	if err := parse(o.volumes, mountspec.ParseVolume); err != nil {
		return err
	}

	if err := parse(o.mounts, mountspec.ParseMount); err != nil {
		return err
	}
	return parse(o.tmpfs, mountspec.ParseTmpfs)
}

// mountTypes has no entry for bind mounts, which have no type for agents without volumes.
var mountTypes = map[mountspec.Type]containerv1.MountType{
	mountspec.Volume: containerv1.MountType_MOUNT_TYPE_VOLUME,
	mountspec.Tmpfs:  containerv1.MountType_MOUNT_TYPE_TMPFS, mountspec.Image: containerv1.MountType_MOUNT_TYPE_IMAGE,
}

// mount returns the message of a mount. --volume-driver applies to volumes without a driver.
func (o *options) mount(m mountspec.Mount) *containerv1.Mount {
	out := &containerv1.Mount{Type: mountTypes[m.Type], Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly,
		Propagation: m.Propagation, CreateSource: m.CreateSource, NonRecursive: m.NonRecursive, Subpath: m.Subpath,
		NoCopy: m.NoCopy, TmpfsSize: m.TmpfsSize, TmpfsMode: m.TmpfsMode, TmpfsOptions: m.TmpfsOptions}
	if m.Type == mountspec.Volume {
		driver := cmp.Or(m.Driver, o.volumeDriver)
		if driver != "" || len(m.Options) > 0 || len(m.Labels) > 0 {
			out.Volume = &containerv1.VolumeOptions{Driver: driver, Options: m.Options, Labels: m.Labels}
		}
	}
	return out
}

func (o *options) addLabels(_ *cli.CLI, cfg *containerv1.ContainerConfig) error {
	fromFiles, err := o.fileLabels()
	if err != nil {
		return err
	}

	for _, l := range append(fromFiles, o.labels...) {
		key, value, _ := strings.Cut(l, "=")
		if key == "" {
			return fault.Invalidf("--label "+l, "label", "invalid label '%s': empty name", l)
		}
		if cfg.Labels == nil {
			cfg.Labels = map[string]string{}
		}
		cfg.Labels[key] = value
	}

	return nil
}

// fileLabels parses the files of --label-file, which have the syntax of --env-file. Keys without a
// value are not copied from the environment.
func (o *options) fileLabels() ([]string, error) {
	var all []string
	for _, name := range o.labelFiles {
		f, err := os.Open(name)
		if err != nil {
			return nil, fault.New(fault.Invalid, "--label-file "+name, "cannot be read",
				fault.WithField("label-file"), fault.WithCause(err))
		}
		labels, err := envspec.ParseFile(name, f, func(string) (string, bool) { return "", true })
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		all = append(all, labels...)
	}

	return all, nil
}

func (o *options) addDNS(_ *cli.CLI, cfg *containerv1.ContainerConfig) error {
	for _, s := range o.dns {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return fault.Invalidf("--dns "+s, "dns", "IP address is not correctly formatted: %s", s)
		}
		cfg.Dns.Servers = append(cfg.Dns.Servers, addr.String())
	}

	for _, h := range o.hosts {
		line, err := extraHost(h)
		if err != nil {
			return err
		}
		cfg.Dns.ExtraHosts = append(cfg.Dns.ExtraHosts, line)
	}

	return nil
}

// hostGateway is the placeholder for the host's address on the container's network.
const hostGateway = "host-gateway"

// extraHost parses NAME:ADDRESS or NAME=ADDRESS, with an IPv6 address also in brackets, and returns
// NAME:ADDRESS.
func extraHost(spec string) (string, error) {
	name, addr, ok := strings.Cut(spec, "=")
	if !ok {
		name, addr, ok = strings.Cut(spec, ":")
	}
	if !ok || name == "" {
		return "", fault.Invalidf("--add-host "+spec, "add-host", "bad format for add-host: %q", spec)
	}
	if addr == hostGateway {
		return name + ":" + addr, nil
	}

	bare := addr
	if strings.HasPrefix(addr, "[") && strings.HasSuffix(addr, "]") {
		bare = addr[1 : len(addr)-1]
	}

	ip, err := netip.ParseAddr(bare)
	if err != nil {
		return "", fault.Invalidf("--add-host "+spec, "add-host", "invalid IP address in add-host: %q", addr)
	}

	return name + ":" + ip.String(), nil
}
