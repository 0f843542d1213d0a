package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// model is the container whose bundle the bare runtime gets a copy of.
const model = "model"

// bareBundle makes a bundle of the one that the agent gives a container of the same image, for the bare runtime: the same root file
// system, mounts, seccomp profile and network namespace, and `true` in place of what runs there. The model runs meanwhile.
func (b *bench) bareBundle(ctx context.Context) (peer, error) {
	out, err := b.agent.CLI(ctx, "run", "-d", "--name", model, "busybox", "sleep", "100000")
	if err != nil {
		return peer{}, err
	}
	id := strings.TrimSpace(out)
	config, err := b.findConfig(id)
	if err != nil {
		return peer{}, err
	}
	bundle := filepath.Join(b.lab.Dir, "bare")
	if err := rewrite(config, bundle); err != nil {
		return peer{}, err
	}
	var count atomic.Int64
	return peer{name: "crun run of the same bundle", run: func(ctx context.Context) error {
		_, err := b.lab.Host.Output(ctx, "crun", "--root", bundle+"/crun", "run", "--bundle", bundle, fmt.Sprint("bare", count.Add(1)))
		return err
	}}, nil
}

// findConfig finds the config.json that the agent made for a container.
func (b *bench) findConfig(id string) (string, error) {
	var found string
	for _, root := range []string{b.agent.ExecRoot(), b.agent.DataRoot()} {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Name() == "config.json" && strings.Contains(path, id) {
				found = path
			}
			return nil
		})
	}
	if found == "" {
		return "", fmt.Errorf("container %s: no config.json below %s", id, b.lab.Dir)
	}
	return found, nil
}

// rewrite puts a config.json into another bundle, with another command and cgroup.
func rewrite(from, bundle string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return err
	}
	config["process"].(map[string]any)["args"] = []string{"true"}
	config["linux"].(map[string]any)["cgroupsPath"] = fmt.Sprintf("/fairlead-bench-%d", os.Getpid())
	root := config["root"].(map[string]any)
	if path := root["path"].(string); !filepath.IsAbs(path) {
		root["path"] = filepath.Join(filepath.Dir(from), path)
	}
	if data, err = json.Marshal(config); err != nil {
		return err
	}
	if err := os.MkdirAll(bundle, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bundle, "config.json"), data, 0o644)
}
