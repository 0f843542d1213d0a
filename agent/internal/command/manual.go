package command

import (
	"fmt"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/config/file"
	"github.com/fairlead/fairlead/agent/manpage"
	"github.com/fairlead/fairlead/proto/version"
)

// filePage returns the man page of the configuration file.
func filePage() []manpage.Page {
	const name, section = "fairlead-daemon.json", 5
	b := manpage.NewBuilder(name, section, "fairlead-agent "+version.Version, "Configuration of the Fairlead agent")
	b.Section("DESCRIPTION")
	b.Text("The agent reads " + file.DefaultPath + `, or the file of --config-file. It is JSON with comments.
A flag overrides the environment, which overrides the file. "fairlead config check" validates a file, and
"fairlead config reload" applies it to a running agent.`)
	b.Section("KEYS")
	for _, k := range config.Keys() {
		b.Item(k.Name, keyText(k))
	}
	return []manpage.Page{{Name: fmt.Sprintf("%s.%d", name, section), Text: b.String()}}
}

// keyText returns what a key does, its type, default, flag and environment variable.
func keyText(k config.Key) string {
	text := usage(k) + ". Type: " + k.Kind.String() + "."
	if k.Flag != "" {
		text += " Flag: --" + k.Flag + "."
	}
	text += " Environment: " + k.EnvName() + "."
	if k.Reloadable {
		text += " A reload applies changes."
	}
	return text
}
