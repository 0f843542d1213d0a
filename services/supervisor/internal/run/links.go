package run

import (
	"cmp"

	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// resolveLinks resolves the containers of links to IDs.
func (r *Runner) resolveLinks(links []container.Link) ([]container.Link, error) {
	var out []container.Link
	for _, link := range links {
		c, err := r.Store.FindContainer(link.Container)
		if err != nil {
			return nil, err
		}
		out = append(out, container.Link{Container: c.ID, Alias: cmp.Or(link.Alias, c.Config.Name)})
	}
	return out, nil
}

// privateAliases returns the link aliases of a container. They refer to short IDs, which a rename
// does not change.
func privateAliases(cfg *container.Config) []*dnsv1.LinkAlias {
	var out []*dnsv1.LinkAlias
	for _, l := range cfg.Network.Links {
		out = append(out, &dnsv1.LinkAlias{Alias: l.Alias, Name: id.Short(l.Container)})
	}
	for _, a := range cfg.Network.Attachments {
		for _, l := range a.Links {
			out = append(out, &dnsv1.LinkAlias{Alias: l.Alias, Name: id.Short(l.Container) + "." + a.Network})
		}
	}
	return out
}
