package resolver

import "sync"

// guaranteed is the number of pending queries that each container can always have.
const guaranteed = 32

// streams is the number of pending queries to one server that is asked over a stream. Package upstream opens
// twice as many connections, as guaranteed shares can exceed it.
const streams = 512

// Budget bounds the pending upstream queries of all containers. It is safe for concurrent use.
//
// A container gets more than its guaranteed share only while it has less than what is free: with n
// greedy containers, 1/(n+1) of the budget stays free (dynamic thresholds, Choudhury and Hahne
// 1998).
type Budget struct {
	mu   sync.Mutex
	free int // negative while guaranteed shares exceed the budget
	held map[string]int
}

// NewBudget returns a budget of n queries.
func NewBudget(n int) *Budget { return &Budget{free: n, held: map[string]int{}} }

func (b *Budget) take(owner string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if held := b.held[owner]; held >= guaranteed && held >= b.free {
		return false
	}
	b.held[owner]++
	b.free--
	return true
}

func (b *Budget) release(owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free++
	if b.held[owner]--; b.held[owner] == 0 {
		delete(b.held, owner)
	}
}

// Budgets holds one budget for all pending queries and one for each upstream.
type Budgets struct {
	all *Budget
	one int

	mu        sync.Mutex
	upstreams map[string]*upstreamBudget
}

type upstreamBudget struct {
	*Budget
	users int
}

// NewBudgets returns a total budget of all queries, and a budget of one queries for each upstream.
func NewBudgets(all, one int) *Budgets {
	return &Budgets{all: NewBudget(all), one: one, upstreams: map[string]*upstreamBudget{}}
}

// enter takes a slot for a query to one upstream. It returns nil if the container has no share
// left.
func (b *Budgets) enter(route Upstream, owner string) (leave func()) {
	key := cacheScope([]Upstream{route})
	b.mu.Lock()
	u := b.upstreams[key]
	if u == nil {
		one := b.one
		if route.Stream { // each query needs a connection
			one = min(one, streams)
		}
		u = &upstreamBudget{Budget: NewBudget(one)}
		b.upstreams[key] = u
	}

	u.users++
	b.mu.Unlock()
	entered := u.take(owner)
	leave = func() {
		if entered {
			u.release(owner)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if u.users--; u.users == 0 {
			delete(b.upstreams, key)
		}
	}

	if !entered {
		leave()
		return nil
	}

	return leave
}
