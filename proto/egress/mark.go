package egress

// MarkNameServer marks packets of the embedded name server in the network namespace of a container: netagent opens its
// sockets there, natagent's rules accept them. Without CAP_NET_ADMIN and CAP_NET_RAW a container cannot mark packets.
const MarkNameServer = 0x666c6e73
