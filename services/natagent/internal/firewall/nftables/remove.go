package nftables

import (
	"context"
	"errors"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Remove deletes the table, for another backend that has taken over. No error if there is none, or no nf_tables.
func Remove(ctx context.Context, ns hostns.NS) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	conn, err := nflink.Open(ns)
	if err != nil {
		return nil // the kernel has no nf_tables, or no netfilter at all
	}
	defer func() { _ = conn.Close() }()
	t, err := conn.ListTableOfFamily(TableName, nftables.TableFamilyINet)
	if err != nil {
		return nil
	}
	conn.DelTable(t)
	switch err := conn.Flush(); {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EPERM) && t.Owner != 0:
		return fault.New(fault.Busy, subject, "another process owns it", fault.WithCause(err),
			fault.WithHint("stop the other natagent of this network namespace"))
	default:
		return explain(err)
	}
}
