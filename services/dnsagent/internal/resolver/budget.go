package resolver

import "sync"

// guaranteed is how many queries each container can have on their way, however many others have.
const guaranteed = 32

// Budget bounds queries on their way to other servers, over all containers. A container gets more than its guaranteed share only
// while it has less than what is left for all: with n containers that take all they get, a share of 1/(n+1) stays for others
// (dynamic thresholds, Choudhury and Hahne 1998). It is safe for concurrent use.
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

func (b *Budget) giveBack(owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free++
	if b.held[owner]--; b.held[owner] == 0 {
		delete(b.held, owner)
	}
}

// Budgets are a budget for all queries on their way, and one for each upstream.
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

// NewBudgets returns budgets of so many queries for all upstreams, and for one.
func NewBudgets(all, one int) *Budgets {
	return &Budgets{all: NewBudget(all), one: one, upstreams: map[string]*upstreamBudget{}}
}

// enter takes a place among the queries to one upstream. It returns nil if there is none for the container.
func (b *Budgets) enter(route Upstream, owner string) (leave func()) {
	key := cacheScope([]Upstream{route})
	b.mu.Lock()
	u := b.upstreams[key]
	if u == nil {
		u = &upstreamBudget{Budget: NewBudget(b.one)}
		b.upstreams[key] = u
	}
	u.users++
	b.mu.Unlock()
	entered := u.take(owner)
	leave = func() {
		if entered {
			u.giveBack(owner)
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
