package egress

import "strings"

// parsePrefix returns the short container ID, the reason and the direction of a record.
func parsePrefix(text string) (short, reason string, d direction, ok bool) {
	fields := strings.Fields(strings.TrimRight(text, "\x00"))
	if len(fields) < 3 || fields[0] != "fairlead" {
		return "", "", outgoing, false
	}
	if len(fields) == 4 && fields[3] == markIncoming {
		return fields[1], fields[2], incoming, true
	}
	return fields[1], fields[2], outgoing, len(fields) == 3
}
