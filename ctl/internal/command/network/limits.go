package network

import (
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/ctl/internal/networkspec"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// limitOptions are the flags with limits.
type limitOptions struct {
	bandwidth, packets string
	connections        uint32
}

func (o *limitOptions) add(f *pflag.FlagSet) {
	f.StringVar(&o.bandwidth, "bandwidth", "", "Limit of each container: in=RATE,out=RATE, such as 10mbit, or none")
	f.StringVar(&o.packets, "packets", "", "Limit of each container's packets a second: in=NUMBER,out=NUMBER, or none")
	f.Uint32Var(&o.connections, "max-connections", 0, "Limit of each container's open connections (0: none)")
}

// toProto returns the limits that were given, nil without any.
func (o *limitOptions) toProto(f *pflag.FlagSet) (*networkv1.Limits, error) {
	var connections *uint32
	if f.Changed("max-connections") {
		connections = &o.connections
	}
	return networkspec.Limits(o.bandwidth, o.packets, connections)
}
