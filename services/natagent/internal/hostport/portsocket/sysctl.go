package portsocket

import (
	"fmt"
	"os"

	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
)

// Dynamic returns the host's ephemeral ports. With an error, it returns the default range.
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
		return hostport.DefaultEphemeral(), fmt.Errorf("read the ephemeral port range: %w", err)
	}

	d, err := hostport.ParseDynamic(string(portRange), string(reserved))
	if err != nil {
		return hostport.DefaultEphemeral(), err
	}

	return d, nil
}
