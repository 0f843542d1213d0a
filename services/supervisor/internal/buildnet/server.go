// Package buildnet connects build steps to the default network. BuildKit creates a namespace for a step
// and calls a CNI plugin, which is the program of the agent under another name. The plugin asks the
// supervisor for a namespace of netagent and mounts it instead of BuildKit's, so that a step has
// the addresses, rules and policies of a container. Package builder starts BuildKit.
package buildnet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Sandboxes is the part of package agents that is used.
type Sandboxes interface {
	CreateSandbox(ctx context.Context, uid, name string, n *container.Network) (agents.Sandbox, error)
	ReleaseSandbox(ctx context.Context, uid string, keep agents.Kept) error
}

// requestTimeout bounds a request of the plugin.
const requestTimeout = 30 * time.Second

// request is the one message of the plugin, in JSON.
type request struct {
	Command   string // ADD or DEL
	Container string // the ID that BuildKit chose
}

// response is the response to it.
type response struct {
	Error     string
	NetnsPath string // of the namespace
}

// Network connects build steps.
type Network struct {
	sandboxes Sandboxes
	log       *slog.Logger

	mu     sync.Mutex
	owners map[string]bool
}

// New returns a Network.
func New(sandboxes Sandboxes, log *slog.Logger) *Network {
	return &Network{sandboxes: sandboxes, log: log, owners: map[string]bool{}}
}

// Uses reports whether an owner of a sandbox is a build step.
func (n *Network) Uses(owner string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.owners[owner]
}

// Listen opens a socket for the plugin. The returned function serves it until ctx ends. Then it releases
// all sandboxes.
func (n *Network) Listen(ctx context.Context, socket string) (serve func(), err error) {
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return func() { n.accept(ctx, listener) }, nil
}

// accept serves connections until ctx ends.
func (n *Network) accept(ctx context.Context, listener net.Listener) {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()

	var all sync.WaitGroup
	defer n.releaseAll()
	defer all.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() == nil {
				n.log.Error("network of build steps ended", "error", err)
			}
			return
		}
		all.Go(func() { n.serve(conn) })
	}
}

// serve serves one request. BuildKit's end must not leave it half done, so it has a time limit only.
func (n *Network) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	_ = conn.SetDeadline(time.Now().Add(requestTimeout))
	var req request
	if err := json.NewDecoder(conn).Decode(&req); err != nil {
		return
	}

	var resp response
	err := n.handle(ctx, req, &resp)
	if err != nil {
		resp.Error = err.Error()
		n.log.Warn("network of a build step failed", "command", req.Command, "error", err)
	}
	_ = json.NewEncoder(conn).Encode(resp) // the plugin is gone if it fails
}

func (n *Network) handle(ctx context.Context, req request, resp *response) error {
	owner := ownerOf(req.Container)
	switch req.Command {
	case "ADD":
		sandbox, err := n.add(ctx, owner)
		resp.NetnsPath = sandbox.NetnsPath
		return err
	case "DEL":
		return n.release(ctx, owner)
	}
	return fault.Invalidf("network of a build step", "command", "%.20q is not a command", req.Command)
}

// ownerOf returns the owner of the sandbox of a build step.
func ownerOf(container string) string {
	sum := sha256.Sum256([]byte("build step " + container))
	return hex.EncodeToString(sum[:])
}

// add creates a sandbox on the default network, or without a network if that is disabled.
func (n *Network) add(ctx context.Context, owner string) (agents.Sandbox, error) {
	n.mu.Lock()
	n.owners[owner] = true
	n.mu.Unlock()
	const name = "build step"
	sandbox, err := n.sandboxes.CreateSandbox(ctx, owner, name, &container.Network{Mode: container.ModeBridge,
		Attachments: []container.Attachment{{Network: string(container.ModeBridge)}}})
	if fault.Is(err, fault.NotFound) {
		sandbox, err = n.sandboxes.CreateSandbox(ctx, owner, name, &container.Network{Mode: container.ModeNone})
	}
	if err != nil {
		return sandbox, errors.Join(err, n.release(ctx, owner))
	}
	return sandbox, nil
}

func (n *Network) release(ctx context.Context, owner string) error {
	if err := n.sandboxes.ReleaseSandbox(ctx, owner, agents.Kept{}); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.owners, owner)
	return nil
}

// releaseAll releases the sandboxes that BuildKit has not released. The sweep retries what fails.
func (n *Network) releaseAll() {
	n.mu.Lock()
	owners := n.owners
	n.owners = map[string]bool{}
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	for owner := range owners {
		if err := n.sandboxes.ReleaseSandbox(ctx, owner, agents.Kept{}); err != nil {
			n.log.Warn("network of a build step was not released, the sweep retries", "error", err)
		}
	}
}
