package inspect

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/fairlead/fairlead/ctl/internal/format"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// PortBinding is a host port or host port range of a container port.
type PortBinding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
	// Sources are the allowed sources. Empty means any.
	Sources []string `json:",omitempty"`
}

// LogConfig is the log driver with its options.
type LogConfig struct {
	Type   string
	Config map[string]string
}

// HostConfig holds the options of run.
type HostConfig struct {
	Binds           []string
	Mounts          []MountOptions    `json:",omitempty"`
	Tmpfs           map[string]string `json:",omitempty"`
	NetworkMode     string
	PortBindings    map[string][]PortBinding
	PublishAllPorts bool
	Egress          []string `json:",omitempty"` // Fairlead's: the rules of --egress
	Ingress         []string `json:",omitempty"` // Fairlead's: the rules of --ingress
	Bandwidth       string   `json:",omitempty"` // Fairlead's: the limits of --bandwidth
	MaxConnections  uint32   `json:",omitempty"` // Fairlead's: the limit of --max-connections
	Packets         string   `json:",omitempty"` // Fairlead's: the limits of --packets
	RestartPolicy   RestartPolicy
	LogConfig       LogConfig
	// PublishAddresses are the published addresses, as in --publish-address.
	PublishAddresses []string
	AutoRemove       bool
	DNS              []string `json:"Dns"`
	DNSOptions       []string `json:"DnsOptions"`
	DNSSearch        []string `json:"DnsSearch"`
	ExtraHosts       []string
	Links            []string
	Sysctls          map[string]string `json:",omitempty"`
	// KeepNetns is the value of --keep-netns.
	KeepNetns bool
	UTSMode   string
	Runtime   string

	Resources
	Security
}

const (
	// defaultMode is the network mode of a container without --network.
	defaultMode = "bridge"
	// joinPrefix starts the network mode of a container that joins another container's network
	// namespace.
	joinPrefix = "container:"
)

func hostConfigOf(cfg *containerv1.ContainerConfig) HostConfig {
	net, dns := cfg.GetNetwork(), cfg.GetDns()
	return HostConfig{
		Binds:           binds(cfg.GetMounts()),
		Mounts:          mountOptions(cfg.GetMounts()),
		Tmpfs:           tmpfsOptions(cfg.GetMounts()),
		NetworkMode:     mode(net),
		PortBindings:    requestedPorts(net.GetPublish()),
		RestartPolicy:   restartPolicyOf(cfg.GetRestart()),
		LogConfig:       logConfigOf(cfg.GetLog()),
		PublishAllPorts: net.GetPublishAll(), Egress: net.GetEgress(), Ingress: net.GetIngress(),
		Bandwidth:        ownLimits(net).Bandwidth.String(),
		MaxConnections:   net.GetMaxConnections(),
		Packets:          ownLimits(net).Limits.Packets.String(),
		PublishAddresses: addresses(net.GetPublishAddresses()),
		AutoRemove:       cfg.GetAutoRemove(),
		DNS:              list(dns.GetServers()),
		DNSOptions:       list(dns.GetOptions()),
		DNSSearch:        list(dns.GetSearch()),
		ExtraHosts:       list(dns.GetExtraHosts()),
		Links:            links(cfg), Sysctls: cfg.GetSysctls(), UTSMode: cfg.GetUts(), KeepNetns: net == nil ||
			net.KeepNetns == nil || net.GetKeepNetns(),
		Runtime:   cfg.GetRuntime(),
		Resources: resourcesOf(cfg.GetResources()), Security: securityOf(cfg),
	}
}

func restartPolicyOf(p *containerv1.RestartPolicy) RestartPolicy {
	return RestartPolicy{Name: cmp.Or(p.GetName(), "no"), MaximumRetryCount: p.GetMaximumRetryCount()}
}

func logConfigOf(log *containerv1.LogConfig) LogConfig {
	return LogConfig{Type: cmp.Or(log.GetDriver(), "json-file"), Config: labels(log.GetOptions())}
}

// links returns links in Docker's form: /OTHER:/SELF/ALIAS. OTHER is an ID, because the name can
// change.
func links(cfg *containerv1.ContainerConfig) []string {
	var out []string
	for _, l := range cfg.GetNetwork().GetLinks() {
		out = append(out, "/"+l.GetContainer()+":/"+cfg.GetName()+"/"+l.GetAlias())
	}
	return out
}

func mode(net *containerv1.NetworkConfig) string {
	if m := net.GetMode(); m != "" && m != "default" {
		return m
	}
	return defaultMode
}

func addresses(mappings []*natv1.AddressMapping) []string {
	out := []string{}
	for _, m := range mappings {
		s := m.GetHostIp()
		if m.GetNoSnat() {
			s += ",snat=false"
		}
		for _, from := range m.GetAllowedSources() {
			s += ",from=" + from
		}
		out = append(out, s)
	}

	return out
}

// longRange is the size from which a port range is one entry.
const longRange = 64

// requestedPorts returns the port mappings of -p. Ranges shorter than longRange have an entry for
// each port.
func requestedPorts(mappings []*natv1.PortMapping) map[string][]PortBinding {
	out := map[string][]PortBinding{}
	for _, m := range mappings {
		last := max(m.GetContainerPort(), m.GetContainerPortEnd())
		if last-m.GetContainerPort()+1 >= longRange {
			k, host := rangeKey(m.GetContainerPort(), last, m.GetProtocol()), ""
			if m.GetHostPort() != 0 {
				host = fmt.Sprintf("%d-%d", m.GetHostPort(), m.GetHostPortEnd())
			}
			out[k] = append(out[k], PortBinding{m.GetHostIp(), host, m.GetAllowedSources()})
			continue
		}
		for n := m.GetContainerPort(); n <= last; n++ {
			host := ""
			switch {
			case m.GetHostPort() == 0:
			case m.GetContainerPortEnd() == 0 && m.GetHostPortEnd() != 0: // any of a range
				host = fmt.Sprintf("%d-%d", m.GetHostPort(), m.GetHostPortEnd())
			default:
				host = strconv.Itoa(int(m.GetHostPort() + n - m.GetContainerPort()))
			}
			k := key(n, m.GetProtocol())
			out[k] = append(out[k], PortBinding{m.GetHostIp(), host, m.GetAllowedSources()})
		}
	}

	return out
}

func key(port uint32, p natv1.Protocol) string {
	return fmt.Sprintf("%d/%s", port, format.Protocol(p))
}

func rangeKey(first, last uint32, p natv1.Protocol) string {
	return fmt.Sprintf("%d-%d/%s", first, last, format.Protocol(p))
}
