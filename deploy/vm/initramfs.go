package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/deploy/vm/internal/job"
)

// firstModules lists the modules for access to the outer machine's files, and those of devices that scripts
// use: without udev, the kernel creates the nodes when it loads the modules. Others are loaded later.
var firstModules = []string{"virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay", "fuse", "loop", "tun"}

// initramfs returns the machine's first file system as an unnamed file in memory.
func (w builder) initramfs(j job.Job) (*os.File, error) {
	modules, err := modules(j.ModuleDir, firstModules)
	if err != nil {
		return nil, err
	}

	content := map[string][]byte{}
	for _, m := range modules {
		if content["modules/"+path.Base(m)], err = os.ReadFile(filepath.Join(j.ModuleDir, m)); err != nil {
			return nil, err
		}
		j.Modules = append(j.Modules, "/modules/"+path.Base(m))
	}

	if content["init"], err = os.ReadFile(filepath.Join(w.cache, "init")); err != nil {
		return nil, err
	}

	if content[job.File], err = json.Marshal(j); err != nil {
		return nil, err
	}

	fd, err := unix.MemfdCreate("initramfs", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}

	f := os.NewFile(uintptr(fd), "initramfs")
	if err := writeArchive(f, []string{"modules"}, content); err != nil {
		return nil, errors.Join(err, f.Close())
	}

	return f, nil
}

// modules returns the files of kernel modules and their dependencies in load order.
func modules(dir string, names []string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}

	needs, files := map[string][]string{}, map[string]string{}
	for line := range strings.Lines(string(data)) {
		file, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		needs[file] = strings.Fields(rest)
		files[strings.TrimSuffix(path.Base(file), ".ko")] = file
	}

	var order []string
	seen := map[string]bool{}
	var add func(file string)
	add = func(file string) {
		if seen[file] {
			return
		}
		seen[file] = true
		for _, n := range needs[file] {
			add(n)
		}
		order = append(order, file)
	}
	for _, name := range names {
		if files[name] == "" {
			return nil, fmt.Errorf("%s has no module %s", dir, name)
		}
		add(files[name])
	}

	return order, nil
}
