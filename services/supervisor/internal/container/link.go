package container

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// validateLinks refuses links where nobody is known by name.
func (c *Config) validateLinks() error {
	n := &c.Network
	if len(n.Links) == 0 {
		return nil
	}
	if n.Mode == ModeHost {
		return fault.New(fault.Invalid, c.subject(), "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
			fault.WithField("link"))
	}
	if !slices.ContainsFunc(n.Attachments, func(a Attachment) bool { return a.Network != string(ModeBridge) }) {
		return nowhereToLink(c.subject())
	}
	return validLinks(c.subject(), n.Links)
}

func nowhereToLink(subject string) error {
	return fault.New(fault.Invalid, subject, "links are further names on user networks, and it is on none", fault.WithField("link"),
		fault.WithHint("put both containers on a network made by 'fairlead network create'; there they find each other by name without a link too"))
}

func validLinks(subject string, links []Link) error {
	for _, l := range links {
		if l.Container == "" || strings.ContainsAny(l.Alias, " \t\n\x00:/") {
			return fault.Invalidf(subject, "link", "bad format for links: %s:%s", l.Container, l.Alias)
		}
	}
	return nil
}
