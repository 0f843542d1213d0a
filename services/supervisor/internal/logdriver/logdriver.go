// Package logdriver defines the log drivers of containers and their options. It performs no I/O:
// package logfile rotates and reads the files. Package container uses it.
package logdriver

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Config is the log driver of a container with its options.
type Config struct {
	Driver  string            `json:",omitempty"` // empty: JSONFile
	Options map[string]string `json:",omitempty"` // see the constants
}

// Log drivers and options. Both drivers that write files write the same format, which logs reads.
const (
	JSONFile = "json-file"
	Local    = "local"
	None     = "none"

	MaxSize = "max-size"
	MaxFile = "max-file"
)

// Bounds of a container's log.
const (
	minLogSize  = 64 << 10
	maxLogFiles = 100
)

// unsupportedLogs lists Docker's other log drivers.
var unsupportedLogs = []string{"journald", "syslog", "fluentd", "gelf", "awslogs", "splunk", "gcplogs", "etwlogs"}

// Size returns the size of one file; ok is false if the option is not set. 0 means unlimited.
func (l Config) Size() (n int64, ok bool) {
	text, ok := l.Options[MaxSize]
	if !ok {
		return 0, false
	}
	n, _ = parseLogSize(text)
	return n, true
}

// Files returns the number of files; ok is false if the option is not set.
func (l Config) Files() (n int, ok bool) {
	text, ok := l.Options[MaxFile]
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// parseLogSize parses 512k, 10m or 1g in Docker's binary units. -1 means unlimited.
func parseLogSize(text string) (n int64, ok bool) {
	if text == "-1" {
		return 0, true
	}
	number, unit := strings.TrimSuffix(strings.ToLower(text), "b"), int64(1)
	for i, suffix := range []string{"k", "m", "g"} {
		if cut, found := strings.CutSuffix(number, suffix); found {
			number, unit = cut, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, n*unit >= minLogSize
}

// Validate checks the driver and its options. The subject names the container.
func (l Config) Validate(subject string) error {
	refuse := func(text, hint string) error {
		return fault.New(fault.Invalid, subject, text, fault.WithField("log-driver"), fault.WithHint("%s", hint))
	}

	switch {
	case slices.Contains(unsupportedLogs, l.Driver):
		return refuse("log driver "+l.Driver+" is not supported: logs are files that `fairlead logs` reads",
			"use json-file, local or none")
	case l.Driver != "" && l.Driver != JSONFile && l.Driver != Local && l.Driver != None:
		return refuse("logger: no log driver named '"+l.Driver+"' is registered", "use json-file, local or none")
	case l.Driver == None && len(l.Options) > 0:
		return refuse("invalid logging opts for driver none", "omit --log-opt")
	}

	for _, key := range slices.Sorted(maps.Keys(l.Options)) {
		value := l.Options[key]
		if ok, err := l.selects(key, value); ok {
			if err != nil {
				return refuse("invalid "+key+": "+err.Error(), "correct --log-opt "+key)
			}
			continue
		}
		_, sized := parseLogSize(value)
		files, err := strconv.Atoi(value)
		switch {
		case key != MaxSize && key != MaxFile:
			return refuse("unknown log opt '"+key+"' for "+l.driver()+" log driver",
				"use max-size or max-file, or with json-file labels, labels-regex, env, env-regex or tag")
		case key == MaxSize && !sized:
			return refuse("invalid max-size: '"+value+"'",
				"write a size of at least 64k, such as 10m, or -1 for no limit")
		case key == MaxFile && (err != nil || files < 1 || files > maxLogFiles):
			return refuse("invalid max-file: '"+value+"'", "write a number from 1 to 100")
		}
	}
	return nil
}

// selects reports whether an option of the driver selects attributes, with the error of its value.
func (l Config) selects(key, value string) (ok bool, err error) {
	if l.driver() != JSONFile {
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

// driver returns the name of the driver.
func (l Config) driver() string {
	if l.Driver == "" {
		return JSONFile
	}
	return l.Driver
}

// Names returns the log drivers, sorted.
func Names() []string { return []string{JSONFile, Local, None} }
