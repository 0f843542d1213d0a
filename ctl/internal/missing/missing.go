// Package missing knows the verbs and flags of the docker command line that Fairlead does not have, and what to do instead. It
// performs no I/O. To drop an entry when its verb or flag arrives, delete its line in table.go; a test of package command fails
// for an entry that exists.
package missing

import (
	"slices"
	"strings"
)

// Verb returns what to do instead of a docker command, given as its words ("image", "prune"). The longest entry that they start
// with counts; a verb below a group is also found by itself, as docker image push is docker push. ok is false if there is none.
func Verb(words ...string) (name, instead string, ok bool) {
	for n := len(words); n > 0; n-- {
		name = strings.Join(words[:n], " ")
		if instead, ok = verbs()[name]; ok {
			return name, instead, true
		}
	}
	if len(words) > 1 && (words[0] == "container" || words[0] == "image") {
		name, instead, ok = Verb(words[1])
	}
	return name, instead, ok
}

// Flag returns what to do instead of a flag of a docker command. The flag is given without dashes; one letter is a short form.
// The command is given by its last word ("run"); empty stands for docker itself. ok is false if there is none.
func Flag(command, flag string) (instead string, ok bool) {
	for _, f := range flags() {
		if slices.Contains(strings.Fields(f.commands), command) || f.commands == "" && command == "" {
			if slices.Contains(strings.Fields(f.names), flag) {
				return f.instead, true
			}
		}
	}
	return "", false
}

// Verbs lists all verbs that Fairlead does not have, in order.
func Verbs() []string {
	var all []string
	for name := range verbs() {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// Flags lists all flags that Fairlead does not have, as a command and a flag.
func Flags() [][2]string {
	var all [][2]string
	for _, f := range flags() {
		commands := strings.Fields(f.commands)
		if f.commands == "" {
			commands = []string{""}
		}
		for _, command := range commands {
			for _, name := range strings.Fields(f.names) {
				all = append(all, [2]string{command, name})
			}
		}
	}
	return all
}
