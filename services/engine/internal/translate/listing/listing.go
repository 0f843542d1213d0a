// Package listing translates containers to the rows of GET /containers/json, and selects them by filters.
// It performs no I/O.
package listing

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/translate/inspect"
	"github.com/fairlead/fairlead/services/engine/internal/translate/state"
)

// Row is one row. Its fields are Docker's, without those that are empty.
type Row struct {
	container.Summary
	Ports []Port
}

// Port is a port. Docker's type has no way to omit the address.
type Port struct {
	IP          netip.Addr `json:",omitzero"`
	PrivatePort uint16
	PublicPort  uint16 `json:",omitempty"`
	Type        network.IPProtocol
}

// FromProto returns the row of a container. sizes can be nil.
func FromProto(c *containerv1.Container, sizes *inspect.Sizes, now time.Time, v apiversion.Version) Row {
	cfg := c.GetConfig()
	row := Row{Ports: []Port{}, Summary: container.Summary{
		ID: c.GetId(), Names: []string{"/" + cfg.GetName()}, Image: cfg.GetImage(), ImageID: c.GetImageId(),
		Command: command(c.GetArgs()), Created: c.GetCreatedAt().AsTime().Unix(), Labels: cfg.GetLabels(),
		State: state.Word(c), Status: state.Line(c, now), Mounts: inspect.Mounts(cfg.GetMounts()),
		NetworkSettings: &container.NetworkSettingsSummary{Networks: inspect.Networks(c, v)},
	}}
	if row.Labels == nil {
		row.Labels = map[string]string{}
	}
	row.HostConfig.NetworkMode, row.HostConfig.Annotations = inspect.Mode(cfg.GetNetwork()), cfg.GetAnnotations()
	for _, e := range row.NetworkSettings.Networks { // as in Docker, only inspect has them
		e.Aliases, e.DNSNames, e.Links = nil, nil, nil
	}
	if v.AtLeast(52) {
		row.Health = &container.HealthSummary{Status: state.Health(c),
			FailingStreak: int(c.GetHealth().GetFailingStreak())}
	}
	if sizes != nil {
		row.SizeRw, row.SizeRootFs = sizes.Writable, sizes.Root
	}
	for _, b := range inspect.BoundPorts(c) {
		row.Ports = append(row.Ports, Port{b.HostIP, b.Port.Num(), b.Host, b.Port.Proto()})
	}
	return row
}

// command joins the words of a command as Docker does: words with spaces are in single quotes.
func command(args []string) string {
	words := slices.Clone(args)
	for i := range words {
		if i > 0 && strings.Contains(words[i], " ") {
			words[i] = "'" + words[i] + "'"
		}
	}
	return strings.Join(words, " ")
}
