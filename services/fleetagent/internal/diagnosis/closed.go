package diagnosis

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Closed returns the TCP ports of an address that this host cannot connect to.
func Closed(ctx context.Context, address netip.Addr, ports []uint16) []uint16 {
	open := make([]bool, len(ports))
	var probes sync.WaitGroup
	for i, port := range ports {
		probes.Go(func() {
			conn, err := (&net.Dialer{Timeout: probeTimeout}).DialContext(ctx, "tcp",
				netip.AddrPortFrom(address, port).String())
			if open[i] = err == nil; open[i] {
				_ = conn.Close()
			}
		})
	}
	probes.Wait()
	closed := slices.Clone(ports)
	return slices.DeleteFunc(closed, func(port uint16) bool { return open[slices.Index(ports, port)] })
}
