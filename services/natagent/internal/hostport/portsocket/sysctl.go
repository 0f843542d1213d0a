package portsocket

import (
	"fmt"
	"os"

	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
)

// Dynamic reads where the host's dynamic ports come from. With the error comes the range to use in its place.
func (h *Binder) Dynamic() (hostport.EphemeralPorts, error) {
	var portRange, reserved []byte
	err := h.ns.Do(func() (err error) {
		if portRange, err = os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err != nil {
			return err
		}
		reserved, err = os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports")
		return err
	})
	if err != nil {
		return hostport.DefaultEphemeral(), fmt.Errorf("read the dynamic port range: %w", err)
	}
	d, err := hostport.ParseDynamic(string(portRange), string(reserved))
	if err != nil {
		return hostport.DefaultEphemeral(), err
	}
	return d, nil
}
