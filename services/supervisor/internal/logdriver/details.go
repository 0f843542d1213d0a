package logdriver

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// Options that select attributes of records.
const (
	Labels      = "labels"
	LabelsRegex = "labels-regex"
	Env         = "env"
	EnvRegex    = "env-regex"
	Tag         = "tag"
)

// Subject is the container that a log is of. The methods are for the templates of the option tag.
type Subject struct {
	ContainerID, ContainerName             string
	ContainerImageID, ContainerImageName   string
	ContainerEntrypoint, ContainerHostname string
	ContainerArgs, ContainerEnv            []string
	ContainerLabels                        map[string]string
	DaemonName                             string
}

func short(id string) string {
	id = id[strings.Index(id, ":")+1:]
	return id[:min(12, len(id))]
}

// ID returns the short ID of the container.
func (s Subject) ID() string { return short(s.ContainerID) }

// FullID returns the ID of the container.
func (s Subject) FullID() string { return s.ContainerID }

// Name returns the name of the container.
func (s Subject) Name() string { return s.ContainerName }

// ImageID returns the short ID of the image.
func (s Subject) ImageID() string { return short(s.ContainerImageID) }

// ImageFullID returns the ID of the image.
func (s Subject) ImageFullID() string { return s.ContainerImageID }

// ImageName returns the name of the image.
func (s Subject) ImageName() string { return s.ContainerImageName }

// Hostname returns the host name of the container.
func (s Subject) Hostname() string { return s.ContainerHostname }

// Command returns the command line of the container.
func (s Subject) Command() string {
	return strings.Join(append([]string{s.ContainerEntrypoint}, s.ContainerArgs...), " ")
}

// parseTag parses the template of the option tag.
func parseTag(text string) (*template.Template, error) {
	t, err := template.New(Tag).Option("missingkey=error").Parse(text)
	if err == nil {
		err = t.Execute(&strings.Builder{}, Subject{})
	}
	return t, err
}

// tagOf returns the tag of records. standard is the template without the option; empty means no tag.
func tagOf(c Config, s Subject, standard string) string {
	text, ok := c.Options[Tag]
	if !ok || text == "" {
		text = standard
	}
	var out strings.Builder
	t, err := parseTag(text)
	if err != nil || t.Execute(&out, s) != nil {
		return "" // it was validated when the container was created
	}
	return out.String()
}

// attributes returns the labels and variables of a container that the options select.
func attributes(c Config, s Subject) map[string]string {
	env := map[string]string{}
	for _, e := range s.ContainerEnv {
		if key, value, ok := strings.Cut(e, "="); ok {
			env[key] = value
		}
	}

	out := map[string]string{}
	for _, from := range []struct {
		names, pattern string
		values         map[string]string
	}{{Labels, LabelsRegex, s.ContainerLabels}, {Env, EnvRegex, env}} {
		for name := range strings.SplitSeq(c.Options[from.names], ",") {
			if value, ok := from.values[name]; ok {
				out[name] = value
			}
		}
		pattern, err := regexp.Compile(c.Options[from.pattern])
		if c.Options[from.pattern] == "" || err != nil {
			continue
		}
		for name, value := range from.values {
			if pattern.MatchString(name) {
				out[name] = value
			}
		}
	}
	return out
}

// Details returns the attributes of a container's records as `docker logs --details` prints them.
func Details(c Config, s Subject) string {
	all := attributes(c, s)
	if tag := tagOf(c, s, ""); tag != "" {
		all[Tag] = tag
	}
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		pairs = append(pairs, url.QueryEscape(key)+"="+url.QueryEscape(all[key]))
	}
	return strings.Join(pairs, ",")
}
