package container

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/envspec"
	"github.com/fairlead/fairlead/ctl/internal/mountspec"
	"github.com/fairlead/fairlead/ctl/internal/networkspec"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// options are the flags that run and create share.
type options struct {
	publishIgnored                                        string
	name, workdir, user, entrypoint, hostname, domainname string
	runtime, platform, pull, stopSignal                   string
	ip, ip6, mac                                          string
	networks, aliases                                     []string
	env, envFiles, volumes, mounts, labels                []string
	dns, dnsSearch, dnsOptions, hosts, publish, expose    []string
	stopTimeout                                           seconds
	stdin, tty, remove, publishAll, quiet                 bool
	publishAddress                                        []string
	linkLocal, links, sysctls                             []string
	uts                                                   string
	keepNetns                                             bool
	labelFiles                                            []string
	cidFile                                               string
}

// flags adds the options to a command. The entrypoint and the stop timeout mean something else when they are not given at all, which
// config asks the flag set about.
func (o *options) flags(f *pflag.FlagSet) {
	f.SetInterspersed(false) // what stands behind the image is the container's
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name {
		case "net":
			name = "network"
		case "net-alias":
			name = "network-alias"
		case "dns-opt":
			name = "dns-option"
		}
		return pflag.NormalizedName(name)
	})
	o.identityFlags(f)
	o.processFlags(f)
	o.networkFlags(f)
}

func (o *options) identityFlags(f *pflag.FlagSet) {
	f.StringVar(&o.name, "name", "", "`NAME` of the container; one is made up if none is given")
	f.StringArrayVarP(&o.labels, "label", "l", nil, "Label with a `KEY[=VALUE]`")
	f.StringArrayVar(&o.labelFiles, "label-file", nil, "`FILE` of labels, one a line")
	f.StringVar(&o.cidFile, "cidfile", "", "Write the container's id to this `FILE`, which must not exist")
	f.StringVar(&o.platform, "platform", "", "`OS/ARCH[/VARIANT]` of the image; the host's unless given")
	f.StringVar(&o.pull, "pull", "missing", "`WHEN` to fetch the image: always, missing or never")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Do not show the progress of a pull")
	f.BoolVar(&o.remove, "rm", false, "Remove the container when its process ends")
	f.StringVar(&o.runtime, "runtime", "", "`OCI_RUNTIME`: crun, runc or a path")
	f.StringVar(&o.stopSignal, "stop-signal", "", "`SIGNAL` that stops the container")
	o.stopTimeout = 10
	f.Var(&o.stopTimeout, "stop-timeout", "`SECONDS` between the stop signal and SIGKILL, -1 for no limit")
}

func (o *options) processFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.stdin, "interactive", "i", false, "Keep standard input open")
	f.BoolVarP(&o.tty, "tty", "t", false, "Give the process a terminal")
	f.StringVar(&o.entrypoint, "entrypoint", "", "`PROGRAM` in place of the image's entrypoint; empty removes that")
	f.StringArrayVarP(&o.env, "env", "e", nil, "Environment variable `KEY[=VALUE]`; KEY alone takes the value from here")
	f.StringArrayVar(&o.envFiles, "env-file", nil, "`FILE` of environment variables, one a line")
	f.StringVarP(&o.workdir, "workdir", "w", "", "Working `FOLDER` in the container")
	f.StringVarP(&o.user, "user", "u", "", "`USER[:GROUP]` of the process, names or numbers")
	f.StringArrayVarP(&o.volumes, "volume", "v", nil, "Bind mount `HOST:CONTAINER[:OPTIONS]`; a missing HOST is made as a folder;\nOPTIONS are ro and a propagation; z, Z, cached, delegated are ignored")
	f.StringArrayVar(&o.mounts, "mount", nil, "Bind mount `SPEC`: type=bind,source=HOST,target=CONTAINER[,readonly]\n[,bind-propagation=MODE]; HOST must exist")
}

func (o *options) networkFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.networks, "network", nil, "`NETWORK` to be on: a name, bridge (the default), none, host or container:CONTAINER;\nname=NETWORK[,ip=…][,ip6=…][,link-local-ip=…][,mac-address=…][,alias=…][,gw-priority=…][,driver-opt=…] has options;\ngiven several times, the interfaces are in this order")
	f.StringVar(&o.ip, "ip", "", "IPv4 `ADDRESS` on the first network")
	f.StringVar(&o.ip6, "ip6", "", "IPv6 `ADDRESS` on the first network")
	f.StringArrayVar(&o.linkLocal, "link-local-ip", nil, "Further link-local `ADDRESS` on the first network")
	f.StringVar(&o.mac, "mac-address", "", "Hardware `ADDRESS` on the first network")
	f.StringArrayVar(&o.aliases, "network-alias", nil, "Further `NAME` on the first network")
	f.StringArrayVar(&o.links, "link", nil, "Further name for another container on the same user network, for this one alone: `CONTAINER[:NAME]`")
	f.StringArrayVar(&o.sysctls, "sysctl", nil, "Kernel parameter `NAME=VALUE` of the container's own namespaces, as net.ipv4.ip_forward=1")
	f.BoolVar(&o.keepNetns, "keep-network", true, "When it ends, keep its network for those who share it, and plug them in again when it is started\nagain; false leaves them behind with lo until they are started again themselves")
	f.StringArrayVarP(&o.publish, "publish", "p", nil, "Publish `[IP:][HOST_PORT:]PORT[/PROTOCOL][,from=NETWORK]`; ports may be ranges;\nwith from, only that network and the host itself reach it")
	f.StringArrayVar(&o.publishAddress, "publish-address", nil,
		"Lead every protocol and port of the host's address `IP[,outgoing=false][,from=NETWORK]` here, and have what is sent out leave as it")
	f.StringVar(&o.publishIgnored, "publish-ignored", ignoredRefused, "`ACTION` for -p where --network host ignores it: refuse or warn")
	f.BoolVarP(&o.publishAll, "publish-all", "P", false, "Publish every exposed port on a host port that is free")
	f.StringArrayVar(&o.expose, "expose", nil, "Say that the container listens on `PORT[-END][/PROTOCOL]`")
	f.StringVarP(&o.hostname, "hostname", "h", "", "Host `NAME` in the container")
	f.StringVar(&o.uts, "uts", "", "`MODE` of the host name: host for the host's own")
	f.StringVar(&o.domainname, "domainname", "", "Domain `NAME` in the container")
	f.StringArrayVar(&o.dns, "dns", nil, "`IP` address of a DNS server")
	f.StringArrayVar(&o.dnsSearch, "dns-search", nil, "`DOMAIN` to search names in; \".\" for none")
	f.StringArrayVar(&o.dnsOptions, "dns-option", nil, "`OPTION` for resolv.conf")
	f.StringArrayVar(&o.hosts, "add-host", nil, "Line `NAME:IP` for /etc/hosts; the IP may be host-gateway, which is the host")
}

// config makes a container's configuration of the options, the image and what stands behind it.
func (o *options) config(c *cli.CLI, f *pflag.FlagSet, args []string) (*containerv1.ContainerConfig, error) {
	cfg := &containerv1.ContainerConfig{
		Name: o.name, Image: args[0], Command: args[1:], WorkingDir: o.workdir, User: o.user, Tty: o.tty, OpenStdin: o.stdin,
		AutoRemove: o.remove, Uts: o.uts, Runtime: o.runtime, Platform: o.platform, StopSignal: o.stopSignal,
		Dns: &containerv1.DnsConfig{Hostname: o.hostname, Domainname: o.domainname, Search: o.dnsSearch, Options: o.dnsOptions},
	}
	if f.Changed("entrypoint") {
		cfg.Entrypoint = []string{o.entrypoint}
	}
	var err error
	if cfg.Sysctls, err = networkspec.ParseKeyValues("sysctl", o.sysctls); err != nil {
		return nil, err
	}
	if f.Changed("stop-timeout") {
		cfg.StopTimeout = o.stopTimeout.wire()
	}
	for _, add := range []func(*cli.CLI, *containerv1.ContainerConfig) error{o.addPull, o.addEnv, o.addMounts, o.addLabels, o.addNetwork, o.addDNS} {
		if err := add(c, cfg); err != nil {
			return nil, err
		}
	}
	return cfg, nil
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

// environment is what --env-file and then -e say.
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
		return nil, fault.New(fault.Invalid, "--env-file "+name, "cannot be read", fault.WithField("env-file"), fault.WithCause(err))
	}
	defer func() { _ = f.Close() }()
	return envspec.ParseFile(name, f, c.LookupEnv)
}

func (o *options) addMounts(_ *cli.CLI, cfg *containerv1.ContainerConfig) error {
	wd, err := os.Getwd()
	if err != nil {
		wd = "" // a relative path then stays one and is refused
	}
	parse := func(specs []string, read func(spec, wd string) (mountspec.Bind, error)) error {
		for _, spec := range specs {
			b, err := read(spec, wd)
			if err != nil {
				return err
			}
			cfg.Mounts = append(cfg.Mounts, &containerv1.BindMount{Source: b.Source, Target: b.Target, ReadOnly: b.ReadOnly,
				Propagation: b.Propagation, CreateSource: b.CreateSource})
		}
		return nil
	}
	if err := parse(o.volumes, mountspec.ParseVolume); err != nil {
		return err
	}
	return parse(o.mounts, mountspec.ParseMount)
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

// fileLabels reads the files of --label-file, which have the form of --env-file. Nothing is taken from the environment.
func (o *options) fileLabels() ([]string, error) {
	var all []string
	for _, name := range o.labelFiles {
		f, err := os.Open(name)
		if err != nil {
			return nil, fault.New(fault.Invalid, "--label-file "+name, "cannot be read", fault.WithField("label-file"), fault.WithCause(err))
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

// hostGateway stands for the host's address on the container's network.
const hostGateway = "host-gateway"

// extraHost reads NAME:ADDRESS or NAME=ADDRESS, an IPv6 address also in brackets, and gives NAME:ADDRESS.
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
