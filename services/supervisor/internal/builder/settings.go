package builder

import (
	"encoding/json"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/services/supervisor/internal/buildnet"
)

// networkConfig returns the configuration of the network plugin.
func networkConfig(socket string) []byte {
	text, _ := json.Marshal(map[string]string{"cniVersion": "1.0.0", "name": "fairlead", "type": buildnet.NetworkName,
		"socket": socket}) // strings only
	return text
}

// settings are the settings of BuildKit.
type settings struct {
	Root, Socket, Runtime string
	Network, Plugins      string // the CNI configuration, and the directory of its plugins
	Registries            Registries
	DNS                   []string
	HostGateway           string // address; can be empty
}

// gatewayLabel is the label with the address of host-gateway, which buildx reads.
const gatewayLabel = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"

// toml returns the configuration file of BuildKit.
func (s settings) toml() string {
	var b strings.Builder
	line := func(key, value string) { b.WriteString(key + " = " + value + "\n") }
	table := func(name string) { b.WriteString("\n[" + name + "]\n") }

	line("root", quote(s.Root))
	line("insecure-entitlements", `["network.host"]`) // as Docker
	table("grpc")
	line("address", list([]string{"unix://" + s.Socket}))
	table("otel")
	line("socketPath", quote(s.Socket+".otel"))
	table("cdi")
	line("disabled", "true")
	table("worker.containerd")
	line("enabled", "false")
	table("worker.oci")
	line("enabled", "true")
	line("binary", quote(s.Runtime))
	line("networkMode", `"cni"`)
	line("cniConfigPath", quote(s.Network))
	line("cniBinaryPath", quote(s.Plugins))
	if s.HostGateway != "" {
		table("worker.oci.labels")
		line(quote(gatewayLabel), quote(s.HostGateway))
	}
	if len(s.DNS) > 0 {
		table("dns")
		line("nameservers", list(s.DNS))
	}

	registries := s.Registries.tables()
	for _, host := range slices.Sorted(maps.Keys(registries)) {
		table("registry." + quote(host))
		for _, setting := range registries[host] {
			b.WriteString(setting + "\n")
		}
	}
	return b.String()
}

// tables returns the settings of each registry.
func (r Registries) tables() map[string][]string {
	all := map[string][]string{}
	var mirrors []string
	for _, m := range r.Mirrors {
		u, err := url.Parse(m)
		if err != nil || u.Host == "" {
			continue
		}
		mirrors = append(mirrors, u.Host+strings.TrimSuffix(u.Path, "/"))
		if u.Scheme == "http" {
			all[u.Host] = []string{"http = true"}
		}
	}
	for _, host := range r.Insecure {
		if _, err := netip.ParsePrefix(host); err == nil {
			continue
		}
		all[host] = []string{"http = true", "insecure = true"}
	}
	if len(mirrors) > 0 {
		all["docker.io"] = append(all["docker.io"], "mirrors = "+list(mirrors))
	}
	return all
}

// quote returns a basic string of TOML, whose escapes are those of JSON.
func quote(text string) string {
	return strings.ReplaceAll(strconv.QuoteToGraphic(text), `\x`, `\u00`)
}

func list(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = quote(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
