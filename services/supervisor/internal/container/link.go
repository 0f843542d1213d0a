package container

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// validateLinks rejects links on networks without name resolution.
func (c *Config) validateLinks() error {
	n := &c.Network
	if len(n.Links) == 0 {
		return nil
	}

	if n.Mode == ModeHost {
		return fault.New(fault.Invalid, c.subject(),
			"conflicting options: host type networking can't be used with links. "+
				"This would result in undefined behavior",
			fault.WithField("link"))
	}

	if !slices.ContainsFunc(n.Attachments, func(a Attachment) bool { return a.Network != string(ModeBridge) }) {
		return linkWithoutNetwork(c.subject())
	}

	return validLinks(c.subject(), n.Links)
}

func linkWithoutNetwork(subject string) error {
	return fault.New(fault.Invalid, subject, "links require a user-defined network", fault.WithField("link"),
		fault.WithHint("connect both containers to a network created with 'fairlead network create', "+
			"which resolves container names"))
}

func validLinks(subject string, links []Link) error {
	for _, l := range links {
		if l.Container == "" || strings.ContainsAny(l.Alias, " \t\n\x00:/") {
			return fault.Invalidf(subject, "link", "bad format for links: %s:%s", l.Container, l.Alias)
		}
	}
	return nil
}

// ResolveLinks returns links with containers as IDs, and names as default aliases.
func ResolveLinks(links []Link, find func(ref string) (*Container, error)) ([]Link, error) {
	var out []Link
	for _, link := range links {
		c, err := find(link.Container)
		if err != nil {
			return nil, err
		}
		out = append(out, Link{Container: c.ID, Alias: cmp.Or(link.Alias, c.Config.Name)})
	}
	return out, nil
}
