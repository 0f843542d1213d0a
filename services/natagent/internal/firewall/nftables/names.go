package nftables

// TableName is the name of our table, of family inet.
const TableName = "fairlead"

// Chains without a hook.
const (
	chainPublished  = "published"   // DNAT of published ports and addresses
	chainBridgeSNAT = "bridge_snat" // SNAT of packets to containers
	chainToBridge   = "to_bridge"   // filters packets to containers
	chainFromBridge = "from_bridge" // filters packets of containers
	chainToTunnel   = "to_tunnel"   // filters packets to containers of other hosts
	chainFromTunnel = "from_tunnel" // filters packets from containers of other hosts
	chainFrames     = "frames"      // filters frames of other hosts before they are unpacked

	chainToEncrypted   = "to_encrypted"   // filters packets of encrypted networks to other hosts
	chainFromEncrypted = "from_encrypted" // filters packets of encrypted networks from other hosts
)

// Sets and maps. Only their elements change at run time.
const (
	setBridges        = "bridges"
	setInternal       = "internal_bridges"
	setICC            = "icc"
	setHairpin4       = "hairpin4"
	setHairpin6       = "hairpin6"
	setGateway4       = "gateway4"
	setGateway6       = "gateway6"
	setMasquerade4    = "masquerade4"
	setMasquerade6    = "masquerade6"
	mapDNAT4          = "dnat4"
	mapDNAT6          = "dnat6"
	mapDNAT4Any       = "dnat4_any"
	mapDNAT6Any       = "dnat6_any"
	mapDNAT4Range     = "dnat4_range"
	mapDNAT6Range     = "dnat6_range"
	mapDNAT4RangeAny  = "dnat4_range_any"
	mapDNAT6RangeAny  = "dnat6_range_any"
	mapDNAT4Address   = "dnat4_address"
	mapDNAT6Address   = "dnat6_address"
	mapSNAT4Container = "snat4_container"
	mapSNAT6Container = "snat6_container"
	mapSNAT4Subnet    = "snat4_subnet"
	mapSNAT6Subnet    = "snat6_subnet"
	setUnprotected4   = "unprotected4"
	setUnprotected6   = "unprotected6"
	setICMP4          = "icmp4"
	setICMP6          = "icmp6"
	setDirect4        = "direct4"
	setDirect6        = "direct6"
	setDirect4Range   = "direct4_range"
	setDirect6Range   = "direct6_range"

	// The tunnel between hosts.
	setTunnels  = "tunnels"
	setVNIs     = "tunnel_vnis"
	setTunnel4  = "tunnel4"
	setTunnel6  = "tunnel6"
	mapMSS4     = "tunnel_mss4"
	mapMSS6     = "tunnel_mss6"
	setPeer4To4 = "peer4_block4"
	setPeer4To6 = "peer4_block6"
	setPeer6To4 = "peer6_block4"
	setPeer6To6 = "peer6_block6"

	setEncryptedTunnels = "encrypted_tunnels"
	setEncrypted4       = "encrypted4"
	setEncrypted6       = "encrypted6"

	// Allowed sources. For each type of key there is a set of restricted keys, and one of keys with
	// their sources.
	setRestricted4        = "restricted4"
	setRestricted6        = "restricted6"
	setRestricted4Any     = "restricted4_any"
	setRestricted6Any     = "restricted6_any"
	setRestricted4Address = "restricted4_address"
	setRestricted6Address = "restricted6_address"
	setAllowed4           = "allowed4"
	setAllowed6           = "allowed6"
	setAllowed4Any        = "allowed4_any"
	setAllowed6Any        = "allowed6_any"
	setAllowed4Address    = "allowed4_address"
	setAllowed6Address    = "allowed6_address"
)

// setNames holds the names of the sets and maps of a family.
type setNames struct {
	hairpin, gateway, masquerade                 string // of networks
	snatSubnet, unprotected, icmp                string // of networks
	dnat, dnatAny, dnatRange, dnatRangeAny       string // of published ports
	dnatAddress, snatContainer                   string // of published addresses
	direct, directRange                          string // of direct access
	restricted, restrictedAny, restrictedAddress string // of allowed sources
	allowed, allowedAny, allowedAddress          string
	tunnel, mss                                  string // of the tunnel
	peerTo4, peerTo6, encrypted                  string
}

func setNames4() setNames {
	return setNames{
		setHairpin4, setGateway4, setMasquerade4, mapSNAT4Subnet, setUnprotected4, setICMP4,
		mapDNAT4, mapDNAT4Any, mapDNAT4Range, mapDNAT4RangeAny,
		mapDNAT4Address, mapSNAT4Container,
		setDirect4, setDirect4Range,
		setRestricted4, setRestricted4Any, setRestricted4Address,
		setAllowed4, setAllowed4Any, setAllowed4Address,
		setTunnel4, mapMSS4, setPeer4To4, setPeer4To6, setEncrypted4,
	}
}

func setNames6() setNames {
	return setNames{
		setHairpin6, setGateway6, setMasquerade6, mapSNAT6Subnet, setUnprotected6, setICMP6,
		mapDNAT6, mapDNAT6Any, mapDNAT6Range, mapDNAT6RangeAny,
		mapDNAT6Address, mapSNAT6Container,
		setDirect6, setDirect6Range,
		setRestricted6, setRestricted6Any, setRestricted6Address,
		setAllowed6, setAllowed6Any, setAllowed6Address,
		setTunnel6, mapMSS6, setPeer6To4, setPeer6To6, setEncrypted6,
	}
}
