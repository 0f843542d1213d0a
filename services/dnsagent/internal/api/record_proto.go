package api

import (
	"errors"
	"strings"

	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/services/dnsagent/internal/records"
)

func recordFromProto(p *dnsv1.Record) (dnsrecord.Record, error) {
	ttl := uint32(dnsrecord.DefaultTTL)
	if p.Ttl != nil {
		ttl = p.GetTtl()
	}
	if err := checkNetwork(p.GetNetwork()); err != nil {
		return dnsrecord.Record{}, err
	}
	r, err := dnsrecord.New(p.GetNetwork(), p.GetName(), p.GetType(), ttl, p.GetData())
	if err != nil {
		return r, fault.Invalidf("record", "records", "%s", err)
	}
	return r, nil
}

// maxNetwork bounds the name of a network.
const maxNetwork = 255

// checkNetwork refuses texts that are not names of networks, as they are parts of keys, and networks
// without the embedded resolver.
func checkNetwork(name string) error {
	if len(name) > maxNetwork || strings.ContainsAny(name, " \t\r\n\x00") {
		return fault.Invalidf("network", "network", "%q is not a valid name of a network", name)
	}
	if name == "bridge" || name == "host" || name == "none" {
		return fault.New(fault.Invalid, "network "+name, "its containers do not use the embedded resolver",
			fault.WithField("network"), fault.WithHint("create a user network, or omit --network"))
	}
	return nil
}

func recordToProto(r dnsrecord.Record) *dnsv1.Record {
	return &dnsv1.Record{Network: r.Network, Name: r.Name, Type: string(r.Type), Ttl: &r.TTL, Data: r.Data}
}

func recordsToProto(all []dnsrecord.Record) (out []*dnsv1.Record) {
	for _, r := range all {
		out = append(out, recordToProto(r))
	}
	return out
}

// selectorFromProto returns the canonical form of what is to be removed.
func selectorFromProto(req *dnsv1.RemoveRecordsRequest) (s records.Selector, err error) {
	s.Network = req.GetNetwork()
	if s.Name, s.Type, s.Data, err = dnsrecord.Select(req.GetName(), req.GetType(), req.GetData()); err != nil {
		return s, fault.Invalidf("record", "name", "%s", err)
	}
	return s, nil
}

func forwardFromProto(p *dnsv1.Forward) (dnsrecord.Forward, error) {
	if err := checkNetwork(p.GetNetwork()); err != nil {
		return dnsrecord.Forward{}, err
	}
	f, err := dnsrecord.NewForward(p.GetNetwork(), p.GetDomain(), p.GetServers())
	if _, ok := errors.AsType[*fault.Fault](err); err != nil && !ok {
		return f, invalidForward("forward", err)
	}
	return f, err
}

func invalidForward(field string, err error) error {
	return fault.Invalidf("forward", field, "%s", err)
}

func forwardToProto(f dnsrecord.Forward) *dnsv1.Forward {
	p := &dnsv1.Forward{Network: f.Network, Domain: f.Domain}
	for _, s := range f.Servers {
		p.Servers = append(p.Servers, s.String())
	}
	return p
}
