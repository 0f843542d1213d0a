package drivertest

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Fake is a driver without effect that records its calls. The zero value is ready to use. It is safe
// for concurrent use.
type Fake struct {
	// Fail returns the error of a call; nil: none.
	Fail func(call string) error

	mu    sync.Mutex
	calls []string
}

func (f *Fake) call(format string, args ...any) error {
	call := fmt.Sprintf(format, args...)
	f.mu.Lock()
	f.calls = append(f.calls, call)
	f.mu.Unlock()
	if f.Fail == nil {
		return nil
	}
	return f.Fail(call)
}

// Calls returns the calls since the last time, as in "attach eth0 10.0.0.2/24".
func (f *Fake) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.calls
	f.calls = nil
	return out
}

// EnsureNetwork implements driver.Driver.
func (f *Fake) EnsureNetwork(n network.Network, guarded bool) (changes []string, created bool, err error) {
	return nil, false, f.call("ensure %s guarded=%v", n.Name, guarded)
}

// DeleteNetwork implements driver.Driver.
func (f *Fake) DeleteNetwork(n network.Network) error { return f.call("delete %s", n.Name) }

// Compare implements driver.Driver. Nothing differs.
func (f *Fake) Compare(n network.Network, sandboxes []endpoint.Sandbox) (map[string][]string, error) {
	return nil, f.call("compare %s sandboxes=%d", n.Name, len(sandboxes))
}

// Sweep implements driver.Driver.
func (f *Fake) Sweep(n network.Network, sandboxes []endpoint.Sandbox, _ func() ([]kernel.Link, error)) (
	changes []string, err error) {
	return nil, f.call("sweep %s sandboxes=%d", n.Name, len(sandboxes))
}

// RunLinkGC implements driver.Driver.
func (f *Fake) RunLinkGC(ctx context.Context, _ func(error)) { <-ctx.Done() }

// Complete implements driver.Driver.
func (f *Fake) Complete(n network.Network, e endpoint.Endpoint) endpoint.Endpoint {
	e.Bridge = n.Bridge().Device
	return e
}

// Attach implements driver.Driver.
func (f *Fake) Attach(_ *kernel.Namespace, _ network.Network, _ string, e endpoint.Endpoint) error {
	return f.call("attach %s %s", e.Interface, e.AllAddresses())
}

// Detach implements driver.Driver.
func (f *Fake) Detach(_ network.Network, _ endpoint.Sandbox, e endpoint.Endpoint) error {
	return f.call("detach %s", e.Interface)
}

// Apply implements driver.Driver.
func (f *Fake) Apply(_ *kernel.Namespace, n network.Network, _ string, e endpoint.Endpoint, gone []netip.Prefix) (
	changes []string, err error) {
	call := fmt.Sprintf("apply %s %s", e.Interface, e.AllAddresses())
	if len(gone) > 0 {
		call += fmt.Sprintf(" gone=%s", gone)
	}
	if mtu := n.FollowedMTU(); mtu != 0 {
		call += fmt.Sprintf(" mtu=%d", mtu)
	}
	return nil, f.call("%s", call)
}

// Remove implements driver.Driver.
func (f *Fake) Remove(_ network.Network, _ endpoint.Sandbox, e endpoint.Endpoint) error {
	return f.call("remove %s", e.Interface)
}
