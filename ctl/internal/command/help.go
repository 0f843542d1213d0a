package command

// helpTemplate is what --help prints: what the command is for, and then its usage.
const helpTemplate = `{{with or .Long .Short}}{{.}}

{{end}}{{.UsageString}}`

// usageTemplate has cobra's parts in Docker's words.
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
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableInheritedFlags}}

Options of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableSubCommands}}

See '{{.CommandPath}} COMMAND --help' for more on a command.{{end}}
`
