package create

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/network"

	"github.com/fairlead/fairlead/proto/egress"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Labels for what Docker's API has no field for.
const (
	labelPrefix = "fairlead."
	// LabelSources is followed by a port, as in "fairlead.publish.from.80/tcp", or applies to all published
	// ports. Its value has CIDRs, separated by commas or spaces.
	LabelSources = "fairlead.publish.from"
	// LabelAddresses has the values of --publish-address, separated by spaces.
	LabelAddresses = "fairlead.publish-address"
	// LabelKeepNetns is the value of --keep-netns.
	LabelKeepNetns = "fairlead.keep-netns"
	// LabelMaxConnections and LabelPackets are the values of --max-connections and --packets.
	LabelMaxConnections = "fairlead.max-connections"
	LabelPackets        = "fairlead.packets"
)

// extras are the options that labels hold.
type extras struct {
	from      map[string]port.Sources // by port, or "" for all ports
	addresses []port.Address
	keepNetns *bool
	limits    egress.Limits
}

// checkLabels rejects misspelled labels: one that restricts access must not be ignored.
func checkLabels(labels map[string]string) error {
	_, err := parseLabels(labels)
	return err
}

func parseLabels(labels map[string]string) (extras, error) {
	out := extras{from: map[string]port.Sources{}}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if !strings.HasPrefix(key, labelPrefix) {
			continue
		}
		if err := out.set(key, labels[key]); err != nil {
			return extras{}, err
		}
	}
	return out, nil
}

func (e *extras) set(key, value string) error {
	invalid := func(err error) error { return httpapi.Errorf(http.StatusBadRequest, "label %.100s: %s", key, err) }
	words := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\n' || r == ',' })
	switch name, ok := strings.CutPrefix(key, LabelSources); {
	case ok && (name == "" || strings.HasPrefix(name, ".")):
		sources, err := port.ParseSources(words)
		if err != nil {
			return invalid(err)
		}
		number, err := portKey(strings.TrimPrefix(name, "."))
		if err != nil {
			return invalid(err)
		}
		e.from[number] = sources
	case key == LabelAddresses:
		for _, spec := range strings.Fields(value) {
			a, err := port.ParseAddress(spec)
			if err != nil {
				return invalid(err)
			}
			e.addresses = append(e.addresses, a)
		}
	case key == LabelKeepNetns:
		keep, err := strconv.ParseBool(value)
		if err != nil {
			return httpapi.Errorf(http.StatusBadRequest, "label %s: %.100q is neither true nor false", key, value)
		}
		e.keepNetns = &keep
	case key == LabelMaxConnections:
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return httpapi.Errorf(http.StatusBadRequest, "label %s: %.100q is not a number of connections", key, value)
		}
		e.limits.Connections, e.limits.AnyConnections = uint32(n), n == 0
	case key == LabelPackets:
		packets, err := egress.ParsePackets(value)
		if err != nil {
			return invalid(err)
		}
		e.limits.Packets = packets
	default:
		return httpapi.Errorf(http.StatusBadRequest, "label %.100s: is unknown; labels with the prefix %s are "+
			"%s[.PORT], %s, %s, %s and %s", key, labelPrefix, LabelSources, LabelAddresses, LabelKeepNetns,
			LabelMaxConnections, LabelPackets)
	}
	return nil
}

// packetsToProto returns the limits of packets, nil if there are none.
func packetsToProto(p egress.Packets) *containerv1.Packets {
	if p == (egress.Packets{}) {
		return nil
	}
	return &containerv1.Packets{In: p.In, Out: p.Out}
}

// portKey returns the text of a port with its protocol; empty for all ports.
func portKey(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	p, err := network.ParsePort(text)
	if err != nil {
		return "", err
	}
	return p.String(), nil
}

// sources returns the allowed sources of a container port.
func (e *extras) sources(p network.Port) (port.Sources, error) {
	if s, ok := e.from[p.String()]; ok {
		return s, nil
	}
	return e.from[""], nil
}

// unusedSources rejects sources of ports that are not published.
func (e *extras) unusedSources(published network.PortMap) error {
	for _, key := range slices.Sorted(maps.Keys(e.from)) {
		if key == "" {
			continue
		}
		p, err := network.ParsePort(key)
		if _, ok := published[p]; err != nil || !ok {
			return httpapi.Errorf(http.StatusBadRequest, "label %s.%s: port %[2]s is not published", LabelSources, key)
		}
	}
	return nil
}
