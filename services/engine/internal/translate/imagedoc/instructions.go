package imagedoc

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// Instructions returns the Dockerfile instructions that set what a configuration has: the body of a
// commit overrides the configuration of the container.
func Instructions(c *container.Config) (out []string) {
	add := func(name, value string) { out = append(out, name+" "+value) }
	if len(c.Entrypoint) > 0 {
		add("ENTRYPOINT", listText(c.Entrypoint))
	}
	if len(c.Cmd) > 0 {
		add("CMD", listText(c.Cmd))
	}
	for _, variable := range c.Env {
		key, value, _ := strings.Cut(variable, "=")
		add("ENV", key+"="+quoted(value))
	}
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		add("LABEL", quoted(key)+"="+quoted(c.Labels[key]))
	}

	var ports []string
	for port := range c.ExposedPorts {
		ports = append(ports, fmt.Sprint(port))
	}
	for _, port := range slices.Sorted(slices.Values(ports)) {
		add("EXPOSE", port)
	}
	if len(c.Volumes) > 0 {
		add("VOLUME", listText(slices.Sorted(maps.Keys(c.Volumes))))
	}
	for name, value := range map[string]string{"USER": c.User, "WORKDIR": c.WorkingDir, "STOPSIGNAL": c.StopSignal} {
		if value != "" {
			add(name, value)
		}
	}
	return out
}

// listText returns a list in the JSON form of instructions.
func listText(words []string) string {
	text, _ := json.Marshal(words) // strings cannot fail
	return string(text)
}

// quoted returns a value in double quotes.
func quoted(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
