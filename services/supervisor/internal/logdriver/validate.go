package logdriver

import (
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/fairlead/fairlead/proto/fault"
)

// Validate checks the driver and its options. The subject names the container.
func (l Config) Validate(subject string) error {
	refuse := func(text, hint string) error {
		return fault.New(fault.Invalid, subject, text, fault.WithField("log-driver"), fault.WithHint("%s", hint))
	}

	switch {
	case slices.Contains(unsupportedLogs, l.Driver):
		return refuse("log driver "+l.Driver+" is not supported: logs are files that `fairlead logs` reads",
			"use json-file, local, journald or none")
	case l.Driver != "" && !slices.Contains(Names(), l.Driver):
		return refuse("logger: no log driver named '"+l.Driver+"' is registered",
			"use json-file, local, journald or none")
	case l.Driver == None && len(l.Options) > 0:
		return refuse("invalid logging opts for driver none", "omit --log-opt")
	}

	for _, key := range slices.Sorted(maps.Keys(l.Options)) {
		if text, hint := l.checkOption(key, l.Options[key]); text != "" {
			return refuse(text, hint)
		}
	}
	return nil
}

// checkOption returns what is wrong with an option, and what to do. Both are empty if it is valid.
func (l Config) checkOption(key, value string) (text, hint string) {
	if ok, err := l.selects(key, value); ok {
		if err != nil {
			return "invalid " + key + ": " + err.Error(), "correct --log-opt " + key
		}
		return "", ""
	}

	switch {
	case key == Mode && value == "non-blocking":
		return "mode non-blocking is not supported: a log is a file, which does not block", "omit --log-opt mode"
	case key == Mode && value != "blocking":
		return `logger: logging mode not supported: "` + value + `"`, "omit --log-opt mode"
	case key == Mode:
		return "", ""
	case l.Driver == Journald && slices.Contains([]string{Labels, LabelsRegex, Env, EnvRegex}, key):
		return "log opt '" + key + "' is not supported for journald log driver: conmon, which writes the " +
			"records, has no fields for it", "put them into the tag: --log-opt tag={{.Name}}"
	case !slices.Contains(l.optionNames(), key):
		return "unknown log opt '" + key + "' for " + l.driver() + " log driver", l.optionHint()
	}

	return checkValue(key, value)
}

// optionNames returns the options of the driver that do not select attributes.
func (l Config) optionNames() []string {
	if l.Driver == Journald {
		return []string{CacheDisabled, CacheMaxSize, CacheMaxFile}
	}
	return []string{MaxSize, MaxFile, Compress}
}

func (l Config) optionHint() string {
	if l.Driver == Journald {
		return "use tag, or for the files that logs reads cache-max-size, cache-max-file or cache-disabled"
	}
	return "use max-size or max-file, or with json-file labels, labels-regex, env, env-regex or tag"
}

// checkValue checks the value of an option that does not select attributes.
func checkValue(key, value string) (text, hint string) {
	switch key {
	case MaxSize, CacheMaxSize:
		if _, ok := parseLogSize(value); !ok {
			return "invalid " + key + ": '" + value + "'",
				"write a size of at least 64k, such as 10m, or -1 for no limit"
		}
	case MaxFile, CacheMaxFile:
		if files, err := strconv.Atoi(value); err != nil || files < 1 || files > maxLogFiles {
			return "invalid " + key + ": '" + value + "'", "write a number from 1 to 100"
		}
	case CacheDisabled:
		if _, err := strconv.ParseBool(value); err != nil {
			return "invalid " + key + ": '" + value + "'", "write true or false"
		}
	case Compress:
		on, err := strconv.ParseBool(value)
		switch {
		case err != nil:
			return "invalid compress: '" + value + "'", "write false, or omit it"
		case on:
			return "compress is not supported: rotated files are not compressed", "omit it, or lower max-size"
		}
	}
	return "", ""
}

// selects reports whether an option of the driver selects attributes, with the error of its value.
func (l Config) selects(key, value string) (ok bool, err error) {
	if l.driver() != JSONFile && (l.Driver != Journald || key != Tag) {
		return false, nil
	}
	switch key {
	case Labels, Env:
	case LabelsRegex, EnvRegex:
		_, err = regexp.Compile(value)
	case Tag:
		_, err = parseTag(value)
	default:
		return false, nil
	}
	return true, err
}
