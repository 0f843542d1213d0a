package config

import (
	"github.com/fairlead/fairlead/proto/dnsrecord"
)

// addDNSRecord adds a DNS record that does not contradict the others.
func addDNSRecord(c *Config, text string) error {
	r, err := dnsrecord.Parse(text)
	if err == nil {
		err = c.dnsTable.Add(r)
	}
	if err != nil {
		return bad("write [network=NAME] NAME [TTL] TYPE DATA, as in db.corp.example A 10.0.0.5", "%s", err)
	}
	c.DNSRecords = append(c.DNSRecords, r)
	return nil
}

// addDNSForward adds the servers of a domain, which has one element of the list.
func addDNSForward(c *Config, text string) error {
	f, err := dnsrecord.ParseForward(text)
	if err != nil {
		return bad("write [network=NAME] DOMAIN SERVER..., as in corp.example tls://10.0.0.53#dns.corp.example", "%s",
			err)
	}
	for _, other := range c.DNSForwards {
		if other.Network == f.Network && other.Domain == f.Domain {
			return bad("write all servers of a domain into one element", "%q has the domain of another element", text)
		}
	}
	if len(c.DNSForwards) >= dnsrecord.MaxForwards {
		return bad("remove some", "more than %d forwards", dnsrecord.MaxForwards)
	}
	c.DNSForwards = append(c.DNSForwards, f)
	return nil
}
