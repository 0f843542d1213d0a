// Package cache caches upstream responses for their TTL.
//
// Each entry is a whole response to one question, sent to one set of servers with one set of flags.
// It is never used for another question: records that a server adds unasked are not trusted. It
// does not choose upstreams; package resolver does.
package cache

import (
	"container/list"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// maxSize is the largest cached response in bytes. Larger ones are rare, and would let a few names
// fill the cache.
const maxSize = 2048

// Key is a question and everything that its response depends on.
type Key struct {
	Scope string // upstream servers and the network they are reached from
	dns.Question
	RD, AD, CD bool // the bits RD, AD and CD
	EDNS, DO   bool // presence of EDNS, and its bit DO
}

// KeyOf returns the key of a query with one question. ok is false for EDNS options, which concern
// only client and server.
func KeyOf(scope string, m *dns.Msg) (key Key, ok bool) {
	key = Key{Scope: scope, Question: m.Question[0], RD: m.RecursionDesired, AD: m.AuthenticatedData,
		CD: m.CheckingDisabled}
	key.Name = dns.CanonicalName(key.Name)
	if opt := m.IsEdns0(); opt != nil {
		if len(opt.Option) > 0 {
			return Key{}, false
		}
		key.EDNS, key.DO = true, opt.Do()
	}
	return key, true
}

// Cache is an LRU cache of responses. It is safe for concurrent use.
type Cache struct {
	mu     sync.Mutex
	bound  int
	recent *list.List // of *entry, most recent first
	found  map[Key]*list.Element
}

// entry is a packed response.
type entry struct {
	key        Key
	answer     []byte
	since, end time.Time
}

// New returns a cache for bound responses. With 0 it stores nothing.
func New(bound int) *Cache {
	return &Cache{bound: bound, recent: list.New(), found: map[Key]*list.Element{}}
}

// Reset removes all responses and changes the bound.
func (c *Cache) Reset(bound int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bound = bound
	c.recent.Init()
	clear(c.found)
}

// Flush removes all responses.
func (c *Cache) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recent.Init()
	clear(c.found)
}

// Put stores a response if it may be cached.
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

	cached := &entry{key, append([]byte(nil), answer...), now, now.Add(lifetime)}
	c.found[key] = c.recent.PushFront(cached)
}

func (c *Cache) drop(e *list.Element) {
	delete(c.found, c.recent.Remove(e).(*entry).key)
}

// Get returns a cached response with its TTLs reduced by its age, nil if there is none. Its ID and
// question are those of the first client.
func (c *Cache) Get(key Key, now time.Time) *dns.Msg {
	cached := c.get(key, now)
	if cached == nil {
		return nil
	}

	m := new(dns.Msg)
	if err := m.Unpack(cached.answer); err != nil {
		return nil
	}

	age := uint32(now.Sub(cached.since) / time.Second)
	left := uint32(cached.end.Sub(cached.since)/time.Second) - age
	for _, h := range headers(m) {
		if h.Rrtype == dns.TypeSOA && !hasAnswer(m, key.Question) {
			h.Ttl = left // the TTL of a negative response
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

	cached := e.Value.(*entry)
	if age := now.Sub(cached.since); age < 0 || !now.Before(cached.end) {
		c.drop(e)
		return nil
	}

	c.recent.MoveToFront(e)
	return cached
}
