package builddoc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/distribution/reference"

	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Options are the options of POST /build.
type Options struct {
	Attrs       map[string]string // of BuildKit's Dockerfile frontend
	Tags        []string          // with a tag
	HostNetwork bool
	Quiet       bool
	Remote      string // the URL of the files; empty means the body
	Session     string // the client's session, which has the files
	ID          string // for POST /build/cancel
	Trace       bool   // the progress is BuildKit's own
}

// clientSession is the value of remote for files in the client's session.
const clientSession = "client-session"

// OptionsOf returns the options of a request.
func OptionsOf(r *httpapi.Request) (Options, error) {
	q := r.URL.Query()
	o := Options{Attrs: map[string]string{}, Quiet: r.Bool("q"), Remote: q.Get("remote"), ID: q.Get("buildid"),
		Trace: q.Get("version") == "2"}
	if err := checkSupported(r, q); err != nil {
		return o, err
	}

	o.setTexts(q)
	if r.Bool("nocache") {
		o.Attrs["no-cache"] = ""
	}
	if r.Bool("pull") {
		o.Attrs["image-resolve-mode"] = "pull"
	}
	if o.Remote == clientSession {
		o.Session, o.Remote = q.Get("session"), ""
	} else if o.Remote != "" {
		o.Attrs["context"] = o.Remote
	}
	for _, set := range []func(url.Values) error{o.setTags, o.setNetwork, o.setMaps, o.setHosts, o.setUlimits} {
		if err := set(q); err != nil {
			return o, err
		}
	}
	return o, nil
}

// checkSupported rejects what BuildKit does not support. Docker ignores limits of CPU and memory with
// BuildKit; so does this.
func checkSupported(r *httpapi.Request, q url.Values) error {
	if r.Bool("squash") {
		return httpapi.Errorf(http.StatusBadRequest, "squash is only supported with experimental mode")
	}
	if len(q["securityopt"]) > 0 {
		return httpapi.Errorf(http.StatusBadRequest, "the daemon on this platform does not support setting security "+
			"options on build")
	}
	if v := q.Get("version"); v != "" && v != "1" && v != "2" {
		return httpapi.Errorf(http.StatusBadRequest, "invalid version %.20q", v)
	}
	return nil
}

// setTexts sets the attributes whose values are passed on.
func (o *Options) setTexts(q url.Values) {
	for key, attr := range map[string]string{"dockerfile": "filename", "target": "target", "shmsize": "shm-size",
		"cgroupparent": "cgroup-parent", "platform": "platform"} {
		if v := q.Get(key); v != "" {
			o.Attrs[attr] = v
		}
	}
}

// setTags sets the tags.
func (o *Options) setTags(q url.Values) error {
	for _, text := range q["t"] {
		if text == "" {
			continue
		}
		named, err := reference.ParseNormalizedNamed(text)
		if err != nil {
			return httpapi.Errorf(http.StatusBadRequest, "invalid reference format: %.200q", text)
		}
		if _, digested := named.(reference.Canonical); digested {
			return httpapi.Errorf(http.StatusBadRequest, "build tag cannot contain a digest")
		}
		o.Tags = append(o.Tags, reference.TagNameOnly(named).String())
	}
	return nil
}

// setNetwork sets the network of steps.
func (o *Options) setNetwork(q url.Values) error {
	switch mode := q.Get("networkmode"); mode {
	case "", "default", "bridge":
	case "host", "none":
		o.Attrs["force-network-mode"] = mode
		o.HostNetwork = mode == "host"
	default:
		return httpapi.Errorf(http.StatusBadRequest, "network mode %q not supported by buildkit; use default, none or "+
			"host", mode)
	}
	return nil
}

// setMaps sets arguments, labels and images with a cache, which are JSON.
func (o *Options) setMaps(q url.Values) error {
	for key, prefix := range map[string]string{"buildargs": "build-arg:", "labels": "label:"} {
		values := map[string]*string{}
		if text := q.Get(key); text != "" {
			if err := json.Unmarshal([]byte(text), &values); err != nil {
				return httpapi.Errorf(http.StatusBadRequest, "error reading %s: %v", key, err)
			}
		}
		for name, value := range values {
			if value != nil {
				o.Attrs[prefix+name] = *value
			}
		}
	}

	var from []string
	if text := q.Get("cachefrom"); text != "" {
		if err := json.Unmarshal([]byte(text), &from); err != nil {
			return httpapi.Errorf(http.StatusBadRequest, "error reading cache-from: %v", err)
		}
	}
	if len(from) > 0 {
		o.Attrs["cache-from"] = strings.Join(from, ",")
	}
	return nil
}

// setHosts sets additional hosts, which are NAME:ADDRESS.
func (o *Options) setHosts(q url.Values) error {
	var hosts []string
	for _, text := range q["extrahosts"] {
		name, address, ok := strings.Cut(text, ":")
		if !ok || name == "" {
			return httpapi.Errorf(http.StatusBadRequest, "invalid host %.200q; write NAME:ADDRESS", text)
		}
		ip, err := netip.ParseAddr(strings.Trim(address, "[]"))
		if err != nil {
			return httpapi.Errorf(http.StatusBadRequest, "invalid host %.200q: %.100q is not an IP address", text,
				address)
		}
		hosts = append(hosts, name+"="+ip.String())
	}
	if len(hosts) > 0 {
		o.Attrs["add-hosts"] = strings.Join(hosts, ",")
	}
	return nil
}

// setUlimits sets limits of processes.
func (o *Options) setUlimits(q url.Values) error {
	text := q.Get("ulimits")
	if text == "" {
		return nil
	}
	var limits []struct {
		Name       string
		Soft, Hard int64
	}
	if err := json.Unmarshal([]byte(text), &limits); err != nil {
		return httpapi.Errorf(http.StatusBadRequest, "error reading ulimits: %v", err)
	}
	var all []string
	for _, l := range limits {
		all = append(all, fmt.Sprintf("%s=%d:%d", l.Name, l.Soft, l.Hard))
	}
	if len(all) > 0 {
		o.Attrs["ulimit"] = strings.Join(all, ",")
	}
	return nil
}
