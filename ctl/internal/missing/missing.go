// Package missing lists the commands and flags of docker that Fairlead does not have, with
// alternatives. It performs no I/O. When a command or flag is added, delete its line in table.go; a
// test of package command fails for an entry that exists.
package missing

import (
	"slices"
	"strings"
)

// Verb returns the alternative to a docker command, which is given as words ("image", "prune"). The
// longest matching entry is used. Below container and image, a command is also found by its own
// name, as docker image push is docker push. ok is false if Fairlead has the command or docker has
// not.
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

// Flag returns the alternative to a flag of a docker command. flag has no dashes; one letter is a
// shorthand. command is the last word of the command ("run"), or empty for docker itself. ok is
// false if there is no entry.
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

// Verbs returns all commands of the table, sorted.
func Verbs() []string {
	var all []string
	for name := range verbs() {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// Flags returns all flags of the table, each as a command and a flag.
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
