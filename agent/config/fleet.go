package config

import (
	"math"
	"strconv"
	"time"
)

// Fleet holds the settings of this host's part in a fleet.
type Fleet struct {
	Port, StorePort, PeerPort uint16 // TCP, on the host's fleet address
	Lease                     time.Duration
	WireGuardPort             uint16        // the first of two UDP ports
	KeyLifetime               time.Duration // of WireGuard's keys
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
		{Name: "fleet-wireguard-port", Kind: Number, Flag: "fleet-wireguard-port", Default: "51820",
			Usage: "First of two UDP ports for encrypted networks of the fleet",
			set:   setWireGuardPort},
		{Name: "fleet-key-lifetime", Flag: "fleet-key-lifetime", Default: "24h",
			Usage: "Time after which keys of encrypted networks are replaced",
			set:   setKeyLifetime},
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

func setWireGuardPort(c *Config, text string) error {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || n == math.MaxUint16 { // the next port is used too
		return bad("write a number from 1 to 65534", "%q is not a usable port", text)
	}
	c.Fleet.WireGuardPort = uint16(n)
	return nil
}

func setKeyLifetime(c *Config, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < 10*time.Second || d > 30*24*time.Hour {
		return bad("write a duration from 10s to 720h", "%q is not a usable lifetime", text)
	}
	c.Fleet.KeyLifetime = d
	return nil
}
