package command

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is the number of columns at which help texts are wrapped.
const helpWidth = 100

// helpTemplate prints the description of a command, then its usage.
const helpTemplate = `{{with or .Long .Short}}{{.}}

{{end}}{{.UsageString}}`

// usageTemplate is cobra's template with Docker's titles.
const usageTemplate = `Usage:  {{.UseLine}}
{{- if gt (len .Aliases) 0}}

Aliases:
  {{.NameAndAliases}}{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}{{end}}
{{- $cmds := .Commands}}
{{- range $group := .Groups}}

{{.Title}}
{{- range $cmds}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}
{{- if and .HasAvailableSubCommands (not .Groups)}}

Commands:
{{- range $cmds}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}
{{- if .HasAvailableLocalFlags}}

Options:
{{flagUsages .LocalFlags | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableInheritedFlags}}

Global Options:
{{flagUsages .InheritedFlags | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableSubCommands}}

Run '{{.CommandPath}} COMMAND --help' for more information on a command.{{end}}
`

// addHelpFunctions registers the functions of usageTemplate. The registry of cobra is global.
func addHelpFunctions() { cobra.AddTemplateFunc("flagUsages", flagUsages) }

// flagUsages returns the usage lines of flags. Value types are printed as Docker prints them.
func flagUsages(flags *pflag.FlagSet) string {
	shown := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		described := *f
		described.Value = typedValue{f.Value}
		if described.DefValue == "[]" {
			described.DefValue = ""
		}
		shown.AddFlag(&described)
	})

	return shown.FlagUsagesWrapped(helpWidth)
}

// typedValue is a flag value with the type name that help texts show.
type typedValue struct{ pflag.Value }

// Type returns list for repeatable flags and int for numbers.
func (v typedValue) Type() string {
	switch kind := v.Value.Type(); {
	case strings.HasSuffix(kind, "Array"), strings.HasSuffix(kind, "Slice"):
		return "list"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "int"
	default:
		return kind
	}
}
