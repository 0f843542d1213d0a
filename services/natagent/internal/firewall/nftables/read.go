package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// contents is the table in the kernel. The zero value means that it does not exist.
type contents struct {
	table    *nftables.Table
	sets     []*nftables.Set
	chains   []string // as text, sorted
	rules    []string // as text, sorted
	elements map[element]bool
}

const (
	readTries = 10
	readPause = 20 * time.Millisecond
)

// read lists the table. It needs several requests and repeats them if the ruleset changes
// meanwhile.
func (b *Backend) read(ctx context.Context) (*contents, error) {
	var last error
	for range readTries {
		before, err := b.conn.GetGen()
		if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot be read")
		}
		c, err := b.readOnce()
		after, gerr := b.conn.GetGen()
		if err == nil && gerr == nil && before.ID == after.ID {
			return c, nil
		}
		last = errors.Join(err, gerr)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(readPause):
		}
	}

	return nil, fault.New(fault.Unavailable, subject, "cannot be read: ruleset keeps changing", fault.WithCause(last))
}

func (b *Backend) readOnce() (*contents, error) {
	table, err := b.conn.ListTableOfFamily(TableName, nftables.TableFamilyINet)
	if errors.Is(err, unix.ENOENT) {
		return &contents{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}

	c := &contents{table: table, elements: map[element]bool{}}
	if c.sets, err = b.conn.GetSets(table); err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}
	if err := b.readElements(c); err != nil {
		return nil, err
	}

	return c, b.readRules(c)
}

func (b *Backend) readElements(c *contents) error {
	for _, s := range c.sets {
		if b.sets[s.Name] == nil {
			continue
		}
		list, err := b.conn.GetSetElements(s)
		if err != nil {
			return fmt.Errorf("list elements of %s: %w", s.Name, err)
		}
		for _, k := range list {
			e := element{set: s.Name, key: string(k.Key), keyEnd: string(k.KeyEnd), end: k.IntervalEnd,
				value: string(k.Val)}
			c.elements[e] = true
		}
	}

	return nil
}

func (b *Backend) readRules(c *contents) error {
	all, err := b.conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("list chains: %w", err)
	}

	for _, k := range all {
		if k.Table.Name != TableName {
			continue
		}
		c.chains = append(c.chains, chainText(k))
		rules, err := b.conn.GetRules(c.table, k)
		if err != nil {
			return fmt.Errorf("list rules of %s: %w", k.Name, err)
		}
		for i, r := range rules {
			c.rules = append(c.rules, ruleText(k.Name, i, r.Exprs, r.UserData))
		}
	}

	slices.Sort(c.chains)
	slices.Sort(c.rules)
	return nil
}
