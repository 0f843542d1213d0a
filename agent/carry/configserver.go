package carry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/agent/config"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
)

// reloadPatience is how long another process of the host may take to reload.
const reloadPatience = 10 * time.Second

// configServer serves fairlead.agent.v1.ConfigService.
type configServer struct {
	agentv1.UnimplementedConfigServiceServer
	*configuration
	wide bool // for the whole host, not only for this process
}

// GetConfig implements the RPC of that name.
func (s configServer) GetConfig(context.Context, *agentv1.GetConfigRequest) (*agentv1.GetConfigResponse, error) {
	keys := map[string]config.Key{}
	for _, k := range config.Keys() {
		keys[k.Name] = k
	}
	res := &agentv1.GetConfigResponse{}
	for _, v := range s.now.Load().Values() {
		k := keys[v.Key]
		setting := &agentv1.Setting{Key: v.Key, List: k.Kind.Many(), Reloadable: k.Live}
		for i, text := range v.Texts {
			setting.Values = append(setting.Values, &agentv1.Value{Text: text, Origin: v.Origins[i].String()})
		}
		res.Settings = append(res.Settings, setting)
	}
	return res, nil
}

// ReloadConfig implements the RPC of that name.
func (s configServer) ReloadConfig(ctx context.Context, req *agentv1.ReloadConfigRequest) (*agentv1.ReloadConfigResponse, error) {
	changes, warnings, err := s.reload(ctx, req.GetDryRun(), req.GetRenumber())
	if err != nil {
		return nil, err
	}
	res := &agentv1.ReloadConfigResponse{Warnings: warnings}
	for _, c := range changes {
		res.Changes = append(res.Changes, &agentv1.Change{Key: c.Key, Before: c.Before, After: c.After, Applied: c.Live})
	}
	if s.wide {
		s.askOthers(ctx, req, res)
	}
	return res, nil
}

// askOthers lets the services that other processes carry reload, and adds what those say to res.
func (s configServer) askOthers(ctx context.Context, req *agentv1.ReloadConfigRequest, res *agentv1.ReloadConfigResponse) {
	ctx, cancel := context.WithTimeout(ctx, reloadPatience)
	defer cancel()
	var all sync.WaitGroup
	var adding sync.Mutex
	for _, name := range s.elsewhere() {
		all.Go(func() {
			theirs, err := agentv1.NewConfigServiceClient(s.peers.to(name)).ReloadConfig(ctx, req)
			adding.Lock()
			defer adding.Unlock()
			if errors.Is(err, context.DeadlineExceeded) {
				err = errors.New("it does not answer")
			}
			if err != nil {
				res.Warnings = append(res.Warnings, fmt.Sprintf("service %s has not read the configuration again: %v", name, err))
				return
			}
			add(res, theirs)
		})
	}
	all.Wait()
}

// elsewhere names the services of the host that this process does not carry.
func (s configServer) elsewhere() []string {
	var names []string
	for _, h := range homes() {
		here := slices.ContainsFunc(s.agent.members, func(m *member) bool { return m.Name == h.name })
		if !here && !slices.Contains(names, h.name) {
			names = append(names, h.name)
		}
	}
	return names
}

// add adds what is not in res yet. Processes that were started with different flags may have different changes of a key.
func add(res, more *agentv1.ReloadConfigResponse) {
	for _, c := range more.GetChanges() {
		if !slices.ContainsFunc(res.Changes, func(have *agentv1.Change) bool { return proto.Equal(have, c) }) {
			res.Changes = append(res.Changes, c)
		}
	}
	for _, w := range more.GetWarnings() {
		if !slices.Contains(res.Warnings, w) {
			res.Warnings = append(res.Warnings, w)
		}
	}
}
