// Package peers holds the clients of the other services, and reports which of them are missing.
//
// Every call with the context of a request is authorized for the client of that request.
package peers

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Clients are the clients of the other services.
type Clients struct {
	Containers   containerv1.ContainerServiceClient
	Files        containerv1.FileServiceClient
	Images       containerv1.ImageServiceClient
	Volumes      containerv1.VolumeServiceClient
	Builder      containerv1.BuilderServiceClient
	Host         hostv1.HostServiceClient
	Networks     networkv1.NetworkServiceClient
	Sandboxes    networkv1.SandboxServiceClient
	Publications natv1.PublicationServiceClient
	Firewall     natv1.FirewallServiceClient
}

// grace is the time that a request waits for a service that restarts.
const grace = 3 * time.Second

// Presence records which services are serving.
type Presence struct {
	titles map[string]string // by name
	watch  WatchFunc

	mu      sync.Mutex
	missing map[string]bool
	changed chan struct{} // closed and replaced with each change
}

// WatchFunc reports the health of a service until ctx ends.
type WatchFunc func(ctx context.Context, service string, report func(serving bool))

// NewPresence returns the presence of the given services, from name to title. All are missing until Run.
func NewPresence(titles map[string]string, watch WatchFunc) *Presence {
	p := &Presence{titles: titles, watch: watch, missing: map[string]bool{}, changed: make(chan struct{})}
	for name := range titles {
		p.missing[name] = true
	}
	return p
}

// Run watches the services until ctx ends.
func (p *Presence) Run(ctx context.Context) {
	var all sync.WaitGroup
	for name := range p.titles {
		all.Go(func() { p.watch(ctx, name, func(serving bool) { p.set(name, !serving) }) })
	}
	all.Wait()
}

func (p *Presence) set(name string, missing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.missing[name] == missing {
		return
	}
	p.missing[name] = missing
	close(p.changed)
	p.changed = make(chan struct{})
}

// absent returns the titles of missing services, and a channel that is closed with the next change.
func (p *Presence) absent() (titles []string, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, missing := range p.missing {
		if missing {
			titles = append(titles, p.titles[name])
		}
	}
	slices.Sort(titles)
	return titles, p.changed
}

// Ready returns an error that names the missing services. It waits a moment for services that restart.
func (p *Presence) Ready(ctx context.Context) error {
	titles, changed := p.absent()
	if titles == nil {
		return nil
	}
	limit := time.NewTimer(grace)
	defer limit.Stop()
	for titles != nil {
		select {
		case <-changed:
			titles, changed = p.absent()
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			verb := "is"
			if len(titles) > 1 {
				verb = "are"
			}
			return httpapi.Errorf(http.StatusServiceUnavailable, "%s %s not running or still starting; see the log "+
				"of the agent", strings.Join(titles, ", "), verb)
		}
	}
	return nil
}
