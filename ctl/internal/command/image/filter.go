package image

import (
	"path"
	"strings"

	"github.com/fairlead/fairlead/ctl/internal/imageref"
)

// is reports whether a row matches NAME[:TAG] or a pattern. In a pattern, * matches all characters
// but a slash.
func (r row) is(name string) bool {
	if strings.ContainsAny(name, "*?[") {
		return matches(name, r.Repository) || matches(name, r.Repository+":"+r.Tag)
	}
	wanted := imageref.Parse(name)
	return imageref.Parse(r.Repository).Name() == wanted.Name() && (wanted.Tag == "" || wanted.Tag == r.Tag)
}

// matches reports whether a pattern matches. An invalid pattern matches nothing.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
