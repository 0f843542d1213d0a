package httpapi

import "regexp"

// Match reports whether one of the values of a key is the text, or a regular expression that matches a
// part of it, or the key filters nothing.
func (f Filters) Match(key, text string) bool {
	return f.Any(key, func(pattern string) bool {
		if pattern == text {
			return true
		}
		e, err := regexp.Compile(pattern)
		return err == nil && e.MatchString(text)
	})
}
