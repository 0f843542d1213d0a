package network

import (
	"cmp"

	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// scopeOf returns the scope of a network. An older agent reports none.
func scopeOf(n *networkv1.Network) string { return cmp.Or(n.GetScope(), "local") }
