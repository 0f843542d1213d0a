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

// Remove deletes the table, after a change of the backend. It does nothing if the table or
// nf_tables does not exist.
func Remove(ctx context.Context, ns hostns.NS) error {
	if err := ctx.Err(); err != nil {
		return err
	}

	conn, err := nflink.Open(ns)
	if err != nil {
		return nil // the kernel has no nf_tables or no netfilter
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
		return fault.New(fault.Busy, subject, "is owned by another process", fault.WithCause(err),
			fault.WithHint("stop the other natagent of this network namespace"))
	default:
		return kernelFault(err)
	}
}
