package hostfirewall

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
)

// load returns the value of a register for a packet.
type load func(Packet) value

func nothing(Packet) value { return value{} }

// compiler converts the expressions of a rule, which pass values in registers.
type compiler struct {
	family     nftables.TableFamily
	set        func(name string) (*set, error) // reads an anonymous set
	registers  map[uint32]load                 // a missing register is unknown
	interfaces map[uint32]bool                 // registers that hold an interface name
	conditions []condition
	out        []rule
}

// compile converts the expressions of a rule to rules: one, one per verdict of a map, or none for a
// rule without verdict.
func compile(family nftables.TableFamily, exprs []nflink.Expression, set func(string) (*set, error)) ([]rule, error) {
	c := compiler{family: family, set: set, registers: map[uint32]load{}, interfaces: map[uint32]bool{}}
	for _, e := range exprs {
		ends, err := c.add(e)
		if err != nil || ends {
			return c.out, err
		}
	}
	return c.out, nil
}

func unknown(Packet) tristate { return maybe }

// also adds a condition.
func (c *compiler) also(one condition) { c.conditions = append(c.conditions, one) }

// decide adds a rule with all conditions so far.
func (c *compiler) decide(verdict, target string, more ...condition) {
	c.out = append(c.out, rule{slices.Concat(c.conditions, more), verdict, target})
}

// add processes the next expression; ends is true if it decides for all packets.
func (c *compiler) add(e nflink.Expression) (ends bool, err error) {
	decode := map[string]expr.Any{"meta": &expr.Meta{}, "payload": &expr.Payload{}, "cmp": &expr.Cmp{},
		"bitwise": &expr.Bitwise{}, "range": &expr.Range{},
		"ct": &expr.Ct{}, "fib": &expr.Fib{}, "lookup": &expr.Lookup{}, "immediate": &expr.Immediate{},
		"match": &expr.Match{}, "target": &expr.Target{}}

	one, ok := decode[e.Name]
	if ok {
		if err := expr.Unmarshal(byte(c.family), e.Data, one); err != nil {
			return false, err
		}
	}

	switch one := one.(type) {
	case *expr.Meta:
		if !one.SourceRegister {
			c.registers[one.Register] = metaLoad(one.Key)
			c.interfaces[one.Register] = one.Key == expr.MetaKeyIIFNAME
		}
	case *expr.Payload:
		if one.DestRegister != 0 {
			c.registers[one.DestRegister] = payloadLoad(one)
		}
	case *expr.Ct:
		if !one.SourceRegister {
			c.registers[one.Register] = ctLoad(one.Key)
		}
	case *expr.Fib:
		c.registers[one.Register] = fibLoad(one)
	case *expr.Bitwise:
		c.registers[one.DestRegister] = c.bitwise(one)
	case *expr.Cmp:
		c.also(c.compare(one))
	case *expr.Range:
		c.also(c.ranged(one))
	case *expr.Lookup:
		return false, c.lookup(one)
	case *expr.Immediate:
		return c.immediate(one, e.Data)
	case *expr.Match:
		c.also(matchOf(one))
	case *expr.Target:
		return c.target(one), nil
	default:
		return c.other(e.Name), nil
	}

	return false, nil
}

// other processes an expression that is known by its name only.
func (c *compiler) other(name string) (ends bool) {
	switch name {
	case "counter", "log", "objref", "last", "notrack", "dup":
	case "reject":
		c.decide(drop, "")
		return true
	case "queue":
		c.decide(accept, "", unknown) // the reader of the queue decides
		c.decide(drop, "", unknown)
		return true
	default: // a limit or an unknown expression, which can write any register
		clear(c.registers)
		c.also(unknown)
	}

	return false
}

// of returns the value of a register.
func (c *compiler) of(register uint32) load {
	if l := c.registers[register]; l != nil {
		return l
	}
	return nothing
}

func metaLoad(key expr.MetaKey) load {
	return func(p Packet) value {
		family, ether := p.family()
		switch {
		case key == expr.MetaKeyL4PROTO:
			return knownAs(p.Protocol.Number())
		case key == expr.MetaKeyNFPROTO:
			return knownAs(family)
		case key == expr.MetaKeyPROTOCOL:
			return knownAs(binary.BigEndian.AppendUint16(nil, ether)...)
		case key == expr.MetaKeyIIFNAME && p.Interface != "":
			return knownAs(append([]byte(p.Interface), make([]byte, interfaceName-len(p.Interface))...)...)
		case key == expr.MetaKeyIIF && p.Index != 0:
			return native32(uint32(p.Index))
		}
		return value{}
	}
}

func payloadLoad(e *expr.Payload) load {
	return func(p Packet) value {
		switch e.Base {
		case expr.PayloadBaseNetworkHeader:
			return part(p.network(), e.Offset, e.Len)
		case expr.PayloadBaseTransportHeader:
			return part(p.transport(), e.Offset, e.Len)
		}
		return value{}
	}
}

func ctLoad(key expr.CtKey) load {
	return func(Packet) value {
		switch key {
		case expr.CtKeySTATE:
			return native32(stateNew)
		case expr.CtKeySTATUS: // DNAT is not set, otherwise the packet would not be for the host
			return native32(0)
		}
		return value{}
	}
}

func fibLoad(e *expr.Fib) load {
	return func(Packet) value {
		if e.ResultADDRTYPE && e.FlagDADDR && !e.FlagSADDR {
			return native32(typeLocal)
		}
		return value{}
	}
}

func (c *compiler) bitwise(e *expr.Bitwise) load {
	from := c.of(e.SourceRegister)
	return func(p Packet) value {
		v := from(p)
		if !v.known || len(v.bytes) != len(e.Mask) || len(e.Mask) != len(e.Xor) {
			return value{}
		}
		out := make([]byte, len(v.bytes))
		for i, b := range v.bytes {
			out[i] = b&e.Mask[i] ^ e.Xor[i]
		}
		return knownAs(out...)
	}
}

// compare compares as many bytes as the rule has, so that a prefix matches several interface names.
func (c *compiler) compare(e *expr.Cmp) condition {
	from, interfaces := c.of(e.Register), c.interfaces[e.Register]
	return func(p Packet) tristate {
		v := from(p)
		if !v.known && interfaces && bytes.HasPrefix(e.Data, []byte("lo\x00")) {
			v = knownAs(make([]byte, interfaceName)...) // any name other than lo
		}
		if !v.known || len(v.bytes) < len(e.Data) {
			return maybe
		}
		order := bytes.Compare(v.bytes[:len(e.Data)], e.Data)
		return of(map[expr.CmpOp]bool{expr.CmpOpEq: order == 0, expr.CmpOpNeq: order != 0, expr.CmpOpLt: order < 0,
			expr.CmpOpLte: order <= 0, expr.CmpOpGt: order > 0, expr.CmpOpGte: order >= 0}[e.Op])
	}
}

func (c *compiler) ranged(e *expr.Range) condition {
	from := c.of(e.Register)
	return func(p Packet) tristate {
		v := from(p)
		if !v.known || len(v.bytes) != len(e.FromData) || len(v.bytes) != len(e.ToData) {
			return maybe
		}
		in := bytes.Compare(e.FromData, v.bytes) <= 0 && bytes.Compare(v.bytes, e.ToData) <= 0
		return of(in == (e.Op == expr.CmpOpEq))
	}
}

// lookup processes a lookup in a set or verdict map.
func (c *compiler) lookup(e *expr.Lookup) error {
	from := c.of(e.SourceRegister)
	s, err := c.set(e.SetName)
	switch {
	case err != nil:
		return err
	case s == nil && e.IsDestRegSet && e.DestRegister == unix.NFT_REG_VERDICT:
		c.decide(accept, "", unknown)
		c.decide(drop, "", unknown)
	case e.IsDestRegSet && e.DestRegister == unix.NFT_REG_VERDICT:
		for _, one := range s.elements {
			if verdict, target := verdictName(one.code, one.chain); verdict != "" {
				c.decide(verdict, target, func(p Packet) tristate { return one.has(from(p)) })
			}
		}
	case e.IsDestRegSet:
		delete(c.registers, e.DestRegister)
		c.also(unknown)
	case s == nil:
		c.also(unknown)
	default:
		c.also(func(p Packet) tristate {
			if a := s.has(from(p)); !e.Invert {
				return a
			} else {
				return a.not()
			}
		})
	}

	return nil
}

// immediate processes a constant or a verdict.
func (c *compiler) immediate(e *expr.Immediate, data []byte) (ends bool, err error) {
	if e.Register != unix.NFT_REG_VERDICT {
		constant := knownAs(e.Data...)
		c.registers[e.Register] = func(Packet) value { return constant }
		return false, nil
	}

	v := &expr.Verdict{}
	if err := expr.Unmarshal(byte(c.family), data, v); err != nil {
		return false, err
	}

	verdict, target := verdictName(int32(v.Kind), v.Chain)
	if verdict == "" {
		return false, nil
	}

	c.decide(verdict, target)
	return true, nil
}

// verdictName returns the verdict of a code; "" if evaluation continues.
func verdictName(code int32, chain string) (verdict, target string) {
	names := map[expr.VerdictKind]string{expr.VerdictAccept: accept, expr.VerdictDrop: drop, expr.VerdictReturn: back,
		expr.VerdictJump: jump, expr.VerdictGoto: leap}
	return names[expr.VerdictKind(code)], chain
}

// target processes an iptables target.
func (c *compiler) target(e *expr.Target) (ends bool) {
	verdict, chain := verdictOf("-j", e.Name)
	if verdict == "" {
		return false
	}
	c.decide(verdict, chain)
	return true
}

// targets returns the chains that the rules jump to.
func targets(rules []rule) []string {
	found := map[string]bool{}
	for _, r := range rules {
		if r.verdict == jump || r.verdict == leap {
			found[r.target] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}
