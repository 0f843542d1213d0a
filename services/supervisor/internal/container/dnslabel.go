package container

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/proto/fault"
)

// LabelDNSName is the label with additional names of a container on its user networks, separated by
// commas. A name can have dots and be a wildcard. The label of an image has no effect: an image must not
// choose names that other containers resolve.
const LabelDNSName = "fairlead.dns.name"

// maxDNSNames bounds the names of the label.
const maxDNSNames = 32

// DNSNames returns the names of the label. It omits invalid ones.
func (c *Config) DNSNames() (all []string) {
	for text := range strings.SplitSeq(c.Labels[LabelDNSName], ",") {
		if name, err := dnsrecord.ParseName(text); err == nil && !slices.Contains(all, name) && len(all) < maxDNSNames {
			all = append(all, name)
		}
	}
	return all
}

// validateDNSNames checks the label.
func (c *Config) validateDNSNames() error {
	value, given := c.Labels[LabelDNSName]
	if !given {
		return nil
	}
	names := strings.Split(value, ",")
	if len(names) > maxDNSNames {
		return fault.Invalidf(c.subject(), "label", "label %s has %d names, the limit is %d", LabelDNSName, len(names),
			maxDNSNames)
	}
	for _, text := range names {
		if _, err := dnsrecord.ParseName(text); err != nil {
			return fault.Invalidf(c.subject(), "label", "label %s: %s", LabelDNSName, err)
		}
	}
	return nil
}
