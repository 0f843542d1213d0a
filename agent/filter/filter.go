// Package filter parses the KEY=VALUE filters of lists and events. It performs no I/O and knows no
// key: the services define theirs.
package filter

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Values holds the values of each key.
type Values map[string][]string

// Check returns an error for a value that is not valid. The error has no subject.
type Check func(value string) error

// Parse parses filters. keys are the supported ones, each with the check of its values or nil.
func Parse(specs []string, keys map[string]Check, usage string) (Values, error) {
	out := Values{}
	for _, spec := range specs {
		key, value, ok := strings.Cut(spec, "=")
		check, known := keys[key]
		refuse := func(format string, args ...any) error {
			return fault.Invalidf("filter "+spec, "filters", format, args...)
		}
		switch {
		case !ok:
			return nil, refuse("bad format of filter (expected name=value)")
		case !known:
			return nil, refuse("invalid filter '%s'; use %s", key, usage)
		case check != nil:
			if err := check(value); err != nil {
				return nil, refuse("%s", err)
			}
		}
		out[key] = append(out[key], value)
	}
	return out, nil
}

// OneOf returns the check of a key with a fixed set of values.
func OneOf(key string, values ...string) Check {
	return func(value string) error {
		if slices.Contains(values, value) {
			return nil
		}
		last := len(values) - 1
		return fault.Invalidf("", "", "invalid filter '%s=%s'; use %s or %s", key, value,
			strings.Join(values[:last], ", "), values[last])
	}
}

// Boolean returns the check of a key with true, false, 1 or 0.
func Boolean(key string) Check {
	return func(value string) error {
		if _, err := strconv.ParseBool(value); err != nil {
			return fault.Invalidf("", "", "invalid filter '%s=%s'; use true or false", key, value)
		}
		return nil
	}
}

// IsTrue reports whether a value that Boolean has accepted is true.
func IsTrue(value string) bool {
	on, _ := strconv.ParseBool(value)
	return on
}

// Pattern checks a regular expression.
func Pattern(value string) error {
	_, err := regexp.Compile(value)
	return err
}

// Matches reports whether a text matches a regular expression that Pattern has accepted.
func Matches(pattern, text string) bool {
	ok, err := regexp.MatchString(pattern, text)
	return ok && err == nil
}

// Any reports whether one value of a key fits. Without a value it does too.
func (v Values) Any(key string, fits func(value string) bool) bool {
	return len(v[key]) == 0 || slices.ContainsFunc(v[key], fits)
}

// Has reports whether a key has a value.
func (v Values) Has(keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { return len(v[key]) > 0 })
}

// Labels reports whether labels have all values of the key label: KEY or KEY=VALUE.
func (v Values) Labels(labels map[string]string) bool {
	return !slices.ContainsFunc(v["label"], func(spec string) bool { return !HasLabel(labels, spec) })
}

// HasLabel reports whether labels have KEY or KEY=VALUE.
func HasLabel(labels map[string]string, spec string) bool {
	key, want, valued := strings.Cut(spec, "=")
	got, ok := labels[key]
	return ok && (!valued || got == want)
}
