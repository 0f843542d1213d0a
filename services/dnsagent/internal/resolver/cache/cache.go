// Package cache keeps what other name servers have said, for as long as they allow, so that a question that is asked again is
// answered at once.
//
// It keeps whole answers, each for one question put to one set of servers in one way, and takes nothing out of them to answer
// another: what a server says of names that it was not asked for is believed by nobody. Who asks whom, package resolver decides.
package cache

import (
	"container/list"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// maxSize is the longest answer that is kept, in bytes. Longer ones are rare, and would let a few names take all the room.
const maxSize = 2048

// Key is a question, and all that an answer to it depends on.
type Key struct {
	Scope string // which servers are asked, and from which network
	dns.Question
	RD, AD, CD bool // the bits RD, AD and CD
	EDNS, DO   bool // whether there is EDNS, and its bit DO
}

// KeyOf is that of a query with one question. A query with EDNS options has none, as what they mean is between asker and server.
func KeyOf(from string, m *dns.Msg) (Key, bool) {
	key := Key{Scope: from, Question: m.Question[0], RD: m.RecursionDesired, AD: m.AuthenticatedData, CD: m.CheckingDisabled}
	key.Name = dns.CanonicalName(key.Name)
	if opt := m.IsEdns0(); opt != nil {
		if len(opt.Option) > 0 {
			return Key{}, false
		}
		key.EDNS, key.DO = true, opt.Do()
	}
	return key, true
}

// Cache keeps a number of answers; beyond it, those that were not asked for longest go first. It is safe for concurrent use.
type Cache struct {
	mu     sync.Mutex
	bound  int
	recent *list.List // of *entry, the latest in front
	found  map[Key]*list.Element
}

// entry is an answer as it was.
type entry struct {
	key        Key
	answer     []byte
	since, end time.Time
}

// New makes a cache for so many answers; for none, it keeps nothing.
func New(bound int) *Cache {
	return &Cache{bound: bound, recent: list.New(), found: map[Key]*list.Element{}}
}

// Reset forgets all answers, and keeps so many from now on.
func (c *Cache) Reset(bound int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bound = bound
	c.recent.Init()
	clear(c.found)
}

// Put keeps an answer, if it may be kept.
func (c *Cache) Put(key Key, answer []byte, now time.Time) {
	lifetime := CacheTTL(key.Question, answer)
	if lifetime <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.found[key]; ok {
		c.drop(old)
	}
	if c.bound <= 0 {
		return
	}
	for c.recent.Len() >= c.bound {
		c.drop(c.recent.Back())
	}
	kept := &entry{key, append([]byte(nil), answer...), now, now.Add(lifetime)}
	c.found[key] = c.recent.PushFront(kept)
}

func (c *Cache) drop(e *list.Element) {
	delete(c.found, c.recent.Remove(e).(*entry).key)
}

// Get gives the answer to a question as it is now, its times to live counted down; nil if there is none. Its id and its question are
// the first asker's.
func (c *Cache) Get(key Key, now time.Time) *dns.Msg {
	kept := c.get(key, now)
	if kept == nil {
		return nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(kept.answer); err != nil {
		return nil
	}
	age := uint32(now.Sub(kept.since) / time.Second)
	left := uint32(kept.end.Sub(kept.since)/time.Second) - age
	for _, h := range headers(m) {
		if h.Rrtype == dns.TypeSOA && !hasAnswer(m, key.Question) {
			h.Ttl = left // of an answer that there is nothing, this is how long that holds
			continue
		}
		h.Ttl -= min(h.Ttl, age)
	}
	return m
}

func (c *Cache) get(key Key, now time.Time) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.found[key]
	if !ok {
		return nil
	}
	kept := e.Value.(*entry)
	if age := now.Sub(kept.since); age < 0 || !now.Before(kept.end) {
		c.drop(e)
		return nil
	}
	c.recent.MoveToFront(e)
	return kept
}
