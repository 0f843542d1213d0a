package run

import (
	"cmp"

	"github.com/fairlead/fairlead/agent/id"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/services/supervisor/container"
)

// settledLinks finds the containers that links name.
func (r *Runner) settledLinks(links []container.Link) ([]container.Link, error) {
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

// privateAliases are the names that a container alone has for others, those for one network among them. They are known by their short
// ids, which no rename changes.
func privateAliases(cfg *container.Config) []*dnsv1.PrivateAlias {
	var out []*dnsv1.PrivateAlias
	for _, l := range cfg.Network.Links {
		out = append(out, &dnsv1.PrivateAlias{Alias: l.Alias, Name: id.Short(l.Container)})
	}
	for _, a := range cfg.Network.Attachments {
		for _, l := range a.Links {
			out = append(out, &dnsv1.PrivateAlias{Alias: l.Alias, Name: id.Short(l.Container) + "." + a.Network})
		}
	}
	return out
}
