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

// bare makes two competitors of the bundle that the agent gives a container of the same image: the same root file system, mounts and network
// namespace, and `true` in place of what runs there. The model runs meanwhile.
//
// The agent translates a seccomp profile once and hands the runtime the result, which is most of a bare run's time. The first competitor gets
// that too: it is the very bundle, and what the agent has to be held to. The second translates the profile each time, as it would alone.
func (b *bench) bare(ctx context.Context) ([]baseline, error) {
	if _, err := b.agent.CLI(ctx, "run", "--rm", "busybox", "true"); err != nil { // so that the model's profile is translated already
		return nil, err
	}
	out, err := b.agent.CLI(ctx, "run", "-d", "--name", model, "busybox", "sleep", "100000")
	if err != nil {
		return nil, err
	}
	config, err := b.findConfig(strings.TrimSpace(out))
	if err != nil {
		return nil, err
	}
	same, err := b.bareRun(config, sameBundle, func(map[string]any) {})
	if err != nil {
		return nil, err
	}
	alone, err := b.bareRun(config, "crun run, translating the seccomp profile", func(config map[string]any) {
		if annotations, ok := config["annotations"].(map[string]any); ok {
			delete(annotations, translated)
		}
	})
	return []baseline{same, alone}, err
}

// sameBundle is the competitor that the agent is held to; translated is where its bundles have the finished seccomp filter.
const (
	sameBundle = "crun run of the same bundle"
	translated = "run.oci.seccomp_bpf_data"
)

// bareRun makes a competitor of a config.json with a change.
func (b *bench) bareRun(config, name string, change func(config map[string]any)) (baseline, error) {
	bundle, err := os.MkdirTemp(b.lab.Dir, "bare")
	if err != nil {
		return baseline{}, err
	}
	if err := rewrite(config, bundle, change); err != nil {
		return baseline{}, err
	}
	var count atomic.Int64
	return baseline{name: name, run: func(ctx context.Context) error {
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

// rewrite puts a config.json into another bundle, with another command and cgroup, and a change.
func rewrite(from, bundle string, change func(config map[string]any)) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return err
	}
	config["process"].(map[string]any)["args"] = []string{"true"}
	config["linux"].(map[string]any)["cgroupsPath"] = "/fairlead/" + filepath.Base(bundle)
	root := config["root"].(map[string]any)
	if path := root["path"].(string); !filepath.IsAbs(path) {
		root["path"] = filepath.Join(filepath.Dir(from), path)
	}
	change(config)
	if data, err = json.Marshal(config); err != nil {
		return err
	}
	if err := os.MkdirAll(bundle, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bundle, "config.json"), data, 0o644)
}
