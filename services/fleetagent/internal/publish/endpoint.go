package publish

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// Limits of an endpoint, so that one container cannot fill the store.
const (
	maxNames   = 64
	maxNameLen = 255
)

// CheckEndpoint refuses an endpoint that is malformed or too large.
func CheckEndpoint(e *fleetv1.OverlayEndpoint) error {
	subject := "endpoint of " + e.GetOwner()
	if !validElement(e.GetNetworkId()) || !validElement(e.GetOwner()) {
		return fault.Invalidf(subject, "owner", "has no valid network and owner")
	}
	if len(e.GetNames()) > maxNames {
		return fault.Invalidf(subject, "names", "has %d names, the most are %d", len(e.GetNames()), maxNames)
	}
	for _, n := range e.GetNames() {
		if n == "" || len(n) > maxNameLen {
			return fault.Invalidf(subject, "names", "%q is not a name", n)
		}
	}
	return checkValues(subject, e)
}

// checkValues refuses labels and addresses that are malformed or too large.
func checkValues(subject string, e *fleetv1.OverlayEndpoint) error {
	size := 0
	for key, value := range e.GetLabels() {
		size += len(key) + len(value)
	}
	if len(e.GetLabels()) > egress.MaxLabels || size > egress.MaxLabelBytes {
		return fault.Invalidf(subject, "labels", "has %d labels of %d bytes, the most are %d and %d",
			len(e.GetLabels()),
			size, egress.MaxLabels, egress.MaxLabelBytes)
	}
	for _, a := range e.GetAddresses() {
		if _, err := netip.ParseAddr(a); err != nil {
			return fault.Invalidf(subject, "addresses", "%q is not an address", a)
		}
	}
	return nil
}

// validElement reports whether a text can be an element of a key.
func validElement(text string) bool {
	for _, r := range text {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return false
		}
	}
	return text != "" && len(text) <= 128
}
