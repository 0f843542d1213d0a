package protoconv

import "github.com/fairlead/fairlead/proto/egress"

// EgressFromProto returns one rule per element. Rules that are not valid stay, for the validation.
func EgressFromProto(values []string) []string {
	p, err := egress.Parse(values)
	if err != nil {
		return values
	}
	return p.Strings()
}
