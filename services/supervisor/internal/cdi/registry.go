package cdi

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/devicerequest"
)

// Directories returns the directories of specifications. A device in a later one takes precedence.
func Directories() []string { return []string{"/etc/cdi", "/var/run/cdi"} }

// maxSpec is the longest specification that is read.
const maxSpec = 16 << 20

// entry is a device with its specification.
type entry struct {
	spec     *Spec
	device   Device
	priority int
	conflict bool // another file of the same directory has it too
}

// Registry holds the devices of the host by name.
type Registry struct {
	devices map[string]*entry
	errs    []error // of files that cannot be used
}

// Load reads the specifications in directories. It fails for no file: an error is reported with the
// device that is not found.
func Load(dirs []string) *Registry {
	r := &Registry{devices: map[string]*entry{}}
	for priority, dir := range dirs {
		files, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.errs = append(r.errs, err)
		}
		for _, f := range files {
			name := filepath.Join(dir, f.Name())
			if ext := path.Ext(name); f.IsDir() || ext != ".json" && ext != ".yaml" && ext != ".yml" {
				continue
			}
			if err := r.add(name, priority); err != nil {
				r.errs = append(r.errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	return r
}

// add adds the devices of a file.
func (r *Registry) add(name string, priority int) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSpec))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	spec, err := Parse(text)
	if err != nil {
		return err
	}

	for _, d := range spec.Devices {
		key := spec.Kind + "=" + d.Name
		if old := r.devices[key]; old != nil && old.priority == priority {
			old.conflict = true
			continue
		}
		r.devices[key] = &entry{spec, d, priority, false}
	}
	return nil
}

// Resolve returns the edits of the devices that are requested, in their order, each specification's own
// first. The subject names the container.
func (r *Registry) Resolve(subject string, requests []devicerequest.Request) ([]Edits, error) {
	var names []string
	for _, req := range requests {
		found, err := r.names(subject, req)
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}

	var out []Edits
	var missing []string
	seen, specs := map[string]bool{}, map[*Spec]bool{}
	for _, name := range names {
		e := r.devices[name]
		if e == nil || e.conflict {
			missing = append(missing, name)
			continue
		}
		if !specs[e.spec] {
			specs[e.spec] = true
			out = append(out, e.spec.Edits)
		}
		if !seen[name] {
			seen[name] = true
			out = append(out, e.device.Edits)
		}
	}

	if len(missing) > 0 {
		return nil, r.unresolvable(subject, missing)
	}
	return out, nil
}

func (r *Registry) unresolvable(subject string, missing []string) error {
	hint := "describe them in /etc/cdi or /var/run/cdi"
	for _, name := range missing {
		if e := r.devices[name]; e != nil {
			hint = "two files of one directory define " + name
		}
	}
	return fault.New(fault.Invalid, subject, "CDI device injection failed: unresolvable CDI devices "+
		strings.Join(missing, ", "), fault.WithField("device"), fault.WithCause(errors.Join(r.errs...)),
		fault.WithHint("%s", hint))
}

// names returns the names of the devices that a request selects.
func (r *Registry) names(subject string, req devicerequest.Request) ([]string, error) {
	if req.Driver == devicerequest.CDI {
		return req.IDs, nil
	}
	kind := r.gpuKind(req.Vendor())
	if kind == "" {
		return nil, req.NoDriver(subject, "describe the GPUs in /etc/cdi, as with nvidia-ctk cdi generate",
			r.errs...)
	}

	var out []string
	for _, name := range req.IDs {
		out = append(out, kind+"="+name)
	}
	if len(out) > 0 {
		return out, nil
	}

	all := r.gpus(kind)
	switch count := max(req.Count, devicerequest.All); {
	case count == devicerequest.All && r.devices[kind+"=all"] != nil:
		return []string{kind + "=all"}, nil
	case count == devicerequest.All:
		return all, nil
	case count > len(all):
		return nil, fault.New(fault.Invalid, subject,
			fmt.Sprintf("%d GPUs are requested, the host has %d of %s", count, len(all), kind), fault.WithField("gpus"))
	default:
		return all[:count], nil
	}
}

// gpuKind returns the kind of GPUs of a vendor, or of any vendor: that of NVIDIA, or else the first by
// name. It is empty if no file describes any.
func (r *Registry) gpuKind(vendor string) string {
	var kinds []string
	for _, e := range r.devices {
		v, class, _ := strings.Cut(e.spec.Kind, "/")
		switch {
		case class != "gpu" || vendor != "" && v != vendor:
		case v == "nvidia.com":
			return e.spec.Kind
		default:
			kinds = append(kinds, e.spec.Kind)
		}
	}
	slices.Sort(kinds)
	return strings.Join(kinds[:min(1, len(kinds))], "")
}

// gpus returns the GPUs of a kind, in the order of their numbers. A GPU has other names that are not
// numbers, such as its UUID; they are used only if none is a number.
func (r *Registry) gpus(kind string) []string {
	var numbers []int
	var others []string
	for _, e := range r.devices {
		n, err := strconv.Atoi(e.device.Name)
		switch {
		case e.spec.Kind != kind || e.device.Name == "all":
		case err == nil && n >= 0:
			numbers = append(numbers, n)
		default:
			others = append(others, kind+"="+e.device.Name)
		}
	}

	slices.Sort(numbers)
	var out []string
	for _, n := range numbers {
		out = append(out, kind+"="+strconv.Itoa(n))
	}
	if len(out) == 0 {
		slices.Sort(others)
		return others
	}
	return out
}
