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

// model is the container whose bundle the bare runs copy.
const model = "model"

// bare returns two baselines: runs of the OCI runtime without the agent. Both use the bundle that
// the agent creates for a container of the same image, with the same rootfs, mounts and network
// namespace, and run true. The model runs meanwhile.
//
// The agent translates a seccomp profile once and passes the result to the runtime. Translation
// takes most of the time of a bare run. The first baseline has the translated profile as well: it
// is the one that limits the agent. The second translates the profile in each run.
func (b *bench) bare(ctx context.Context) ([]baseline, error) {
	// This run translates the profile before the model starts.
	if _, err := b.agent.CLI(ctx, "run", "--rm", "busybox", "true"); err != nil {
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

const (
	// sameBundle is the baseline that the agent is compared with.
	sameBundle = "crun run of the same bundle"
	// translated is the annotation that contains the translated seccomp filter.
	translated = "run.oci.seccomp_bpf_data"
)

// bareRun returns a baseline that runs a changed copy of config.
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
		id := fmt.Sprint("bare", count.Add(1))
		_, err := b.lab.Host.Output(ctx, "crun", "--root", bundle+"/crun", "run", "--bundle", bundle, id)
		return err
	}}, nil
}

// findConfig returns the path of the config.json that the agent wrote for a container.
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

// rewrite copies a config.json into another bundle. It replaces the command and the cgroup, and
// applies change.
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
