package buildnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the program as a plugin. BuildKit calls the second one for each network.
const (
	NetworkName  = "fairlead-build"
	LoopbackName = "loopback"
)

// cniFailure is the code of errors that CNI does not define.
const cniFailure = 100

// Call is a call of the plugin.
type Call struct {
	Program string // its name as it was called
	Env     func(key string) string
	Stdin   io.Reader
	Stdout  io.Writer
}

// IsPlugin reports whether a program is called as a plugin.
func (c Call) IsPlugin() bool {
	name := filepath.Base(c.Program)
	return c.Env("CNI_COMMAND") != "" && (name == NetworkName || name == LoopbackName)
}

// pluginConfig is the part of the network configuration that the plugin reads.
type pluginConfig struct {
	Version string `json:"cniVersion"`
	Socket  string `json:"socket"`
}

// result is a result or an error of CNI.
type result struct {
	Version    string         `json:"cniVersion"`
	Supported  []string       `json:"supportedVersions,omitempty"`
	Interfaces []netInterface `json:"interfaces,omitempty"`
	Code       int            `json:"code,omitempty"`
	Message    string         `json:"msg,omitempty"`
}

type netInterface struct {
	Name    string `json:"name"`
	Sandbox string `json:"sandbox"`
}

// Run runs the plugin and returns its exit status.
func (c Call) Run() int {
	var cfg pluginConfig
	out, err := result{}, json.NewDecoder(c.Stdin).Decode(&cfg)
	if err == nil {
		out, err = c.run(cfg)
	}
	status := 0
	if err != nil {
		out, status = result{Code: cniFailure, Message: err.Error()}, 1
	}
	if out.Version = cfg.Version; out.Version == "" {
		out.Version = "1.0.0"
	}
	if err := json.NewEncoder(c.Stdout).Encode(out); err != nil {
		return 1
	}
	return status
}

func (c Call) run(cfg pluginConfig) (result, error) {
	command, netns := c.Env("CNI_COMMAND"), c.Env("CNI_NETNS")
	switch {
	case command == "VERSION":
		return result{Supported: []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}}, nil
	case filepath.Base(c.Program) == LoopbackName:
		// The interface lo of netagent's namespaces is up already.
		return result{Interfaces: []netInterface{{Name: "lo", Sandbox: netns}}}, nil
	case command != "ADD" && command != "DEL":
		return result{}, nil
	}

	resp, err := call(cfg.Socket, request{Command: command, Container: c.Env("CNI_CONTAINERID")})
	if err != nil || command == "DEL" {
		return result{}, err
	}
	if err := replace(netns, resp.NetnsPath); err != nil {
		_, derr := call(cfg.Socket, request{Command: "DEL", Container: c.Env("CNI_CONTAINERID")})
		return result{}, errors.Join(err, derr)
	}
	return result{Interfaces: []netInterface{{Name: "eth0", Sandbox: netns}}}, nil
}

// replace mounts a namespace instead of another one.
func replace(at, namespace string) error {
	if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("namespace %s: cannot be unmounted: %w", at, err)
	}
	if err := unix.Mount(namespace, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("namespace %s: cannot be mounted at %s: %w", namespace, at, err)
	}
	return nil
}

// call sends a request to the supervisor.
func call(socket string, req request) (response, error) {
	conn, err := net.DialTimeout("unix", socket, requestTimeout)
	if err != nil {
		return response{}, fmt.Errorf("supervisor: %w", err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(requestTimeout))
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return response{}, fmt.Errorf("supervisor: %w", err)
	}
	var resp response
	if err := json.NewDecoder(conn).Decode(&resp); err != nil {
		return response{}, fmt.Errorf("supervisor: %w", err)
	}
	if resp.Error != "" {
		return resp, errors.New(resp.Error)
	}
	return resp, nil
}
