package run

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/agent/config"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
)

// configServer implements fairlead.agent.v1.ConfigService.
type configServer struct {
	agentv1.UnimplementedConfigServiceServer
	*configuration
	hostWide bool // reload all processes of the host
}

// GetConfig implements ConfigServiceServer.
func (s configServer) GetConfig(context.Context, *agentv1.GetConfigRequest) (*agentv1.GetConfigResponse, error) {
	keys := map[string]config.Key{}
	for _, k := range config.Keys() {
		keys[k.Name] = k
	}
	res := &agentv1.GetConfigResponse{}
	for _, v := range s.now.Load().Values() {
		k := keys[v.Key]
		setting := &agentv1.Setting{Key: v.Key, List: k.Kind.MultiValued(), Reloadable: k.Reloadable}
		for i, text := range v.Texts {
			setting.Values = append(setting.Values, &agentv1.Value{Text: text, Origin: v.Origins[i].String()})
		}
		res.Settings = append(res.Settings, setting)
	}
	return res, nil
}

// ReloadConfig implements ConfigServiceServer.
func (s configServer) ReloadConfig(ctx context.Context,
	req *agentv1.ReloadConfigRequest) (*agentv1.ReloadConfigResponse, error) {
	if req.GetRevert() {
		return &agentv1.ReloadConfigResponse{}, s.revert(ctx, req.GetRenumber())
	}
	o := reloadRequest{dry: req.GetDryRun(), renumber: req.GetRenumber()}
	if s.hostWide || isHostWide(ctx) {
		o.others = &remoteReload{names: s.remoteServices(), peers: s.peers, request: req}
	}
	changes, warnings, err := s.reload(ctx, o)
	if err != nil {
		return nil, err
	}
	res := &agentv1.ReloadConfigResponse{Warnings: warnings}
	for _, c := range changes {
		res.Changes = append(res.Changes, &agentv1.Change{Key: c.Key, Before: c.Before, After: c.After,
			Applied: c.Reloadable})
	}
	o.others.report(res)
	return res, nil
}

// remoteServices returns the services that run in other processes.
func (s configServer) remoteServices() []string {
	var names []string
	for _, other := range s.options.All {
		if !slices.ContainsFunc(s.agent.members, func(m *member) bool { return m.Name == other.Name }) {
			names = append(names, other.Name)
		}
	}
	return names
}
