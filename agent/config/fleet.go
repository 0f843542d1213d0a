package config

import (
	"strconv"
	"time"
)

// Fleet holds the settings of this host's part in a fleet.
type Fleet struct {
	Port, StorePort, PeerPort uint16 // TCP, on the host's fleet address
	Lease                     time.Duration
}

func fleetKeys() []Key {
	return []Key{
		{Name: "fleet-port", Kind: Number, Flag: "fleet-port", Default: "7450",
			Usage: "TCP port of the fleet for agents; the same on all hosts",
			set:   port(func(c *Config) *uint16 { return &c.Fleet.Port })},
		{Name: "fleet-store-port", Kind: Number, Flag: "fleet-store-port", Default: "7451",
			Usage: "TCP port of the fleet's store for agents",
			set:   port(func(c *Config) *uint16 { return &c.Fleet.StorePort })},
		{Name: "fleet-peer-port", Kind: Number, Flag: "fleet-peer-port", Default: "7452",
			Usage: "TCP port among the members of the fleet's store",
			set:   port(func(c *Config) *uint16 { return &c.Fleet.PeerPort })},
		{Name: "fleet-lease", Flag: "fleet-lease", Default: "15s",
			Usage: "Time without a sign of life until other hosts suspect this one",
			set:   setFleetLease},
	}
}

func port(field func(*Config) *uint16) func(*Config, string) error {
	return func(c *Config, text string) error {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return bad("write a number from 1 to 65535", "%q is not a port", text)
		}
		*field(c) = uint16(n)
		return nil
	}
}

func setFleetLease(c *Config, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < 3*time.Second || d > 5*time.Minute {
		return bad("write a duration from 3s to 5m", "%q is not a usable lease", text)
	}
	c.Fleet.Lease = d
	return nil
}
