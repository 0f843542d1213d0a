package nflink

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Expression is an expression of a rule.
type Expression struct {
	Name string
	Data []byte // encoded attributes
}

// Rules lists the rules of a chain with all expressions. The library's own list omits unknown ones.
func (l *Link) Rules(family nftables.TableFamily, table, chain string) (rules [][]Expression, err error) {
	ae := netlink.NewAttributeEncoder()
	ae.String(unix.NFTA_RULE_TABLE, table)
	ae.String(unix.NFTA_RULE_CHAIN, chain)
	attrs, err := ae.Encode()
	if err != nil {
		return nil, err
	}

	responses, err := l.exchange([]netlink.Message{{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE,
			Flags: netlink.Request | netlink.Dump},
		Data: append([]byte{byte(family), unix.NFNETLINK_V0, 0, 0}, attrs...),
	}})

	if err != nil {
		return nil, fmt.Errorf("list rules of %s: %w", chain, err)
	}

	for _, m := range responses {
		if m.Header.Type == netlink.Error || m.Header.Type == netlink.Done && len(m.Data) >= 4 {
			if errno := int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
				return nil, fmt.Errorf("list rules of %s: %w", chain, unix.Errno(-errno))
			}
		}
		if m.Header.Type != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWRULE || len(m.Data) < 4 {
			continue
		}
		rule, err := expressions(m.Data[4:])
		if err != nil {
			return nil, fmt.Errorf("rule of %s: %w", chain, err)
		}
		rules = append(rules, rule)
	}

	return rules, nil
}

func expressions(rule []byte) (all []Expression, err error) {
	ad, err := netlink.NewAttributeDecoder(rule)
	if err != nil {
		return nil, err
	}

	for ad.Next() {
		if ad.Type() == unix.NFTA_RULE_EXPRESSIONS {
			ad.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					list.Nested(func(one *netlink.AttributeDecoder) error {
						var e Expression
						for one.Next() {
							switch one.Type() {
							case unix.NFTA_EXPR_NAME:
								e.Name = one.String()
							case unix.NFTA_EXPR_DATA:
								e.Data = append([]byte(nil), one.Bytes()...)
							}
						}
						all = append(all, e)
						return nil
					})
				}
				return nil
			})
		}
	}

	return all, ad.Err()
}

// Verdict decodes the verdict of a map element.
func Verdict(value []byte) (code int32, chain string, err error) {
	ad, err := netlink.NewAttributeDecoder(value)
	if err != nil {
		return 0, "", err
	}

	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_VERDICT_CODE:
			code = ad.Int32()
		case unix.NFTA_VERDICT_CHAIN:
			chain = ad.String()
		}
	}

	return code, chain, ad.Err()
}
