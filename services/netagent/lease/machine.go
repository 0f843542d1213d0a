package lease

import (
	"net/netip"
	"time"
)

// State is where a client is, in the words of RFC 2131. Those of the other protocols do the same under other names.
type State string

// The states.
const (
	Selecting  State = "selecting"  // asks for an address (DISCOVER, SOLICIT, router solicitation)
	Requesting State = "requesting" // has been offered one and takes it (REQUEST)
	Rebooting  State = "rebooting"  // asks whether it may go on with the one that it had (REQUEST, CONFIRM)
	Bound      State = "bound"
	Renewing   State = "renewing"  // asks its server for more time (REQUEST, RENEW)
	Rebinding  State = "rebinding" // asks any server for more time (REQUEST, REBIND)
)

// Event is what has become of a client's address.
type Event int

// The events.
const (
	Nothing Event = iota
	Granted       // there is an address, or more time for it
	Lost          // the address must not be used any more
	Refused       // a server offers, but not the address that is wanted; it is in Offered
)

// Kind is what a server answered.
type Kind int

// The answers.
const (
	Offer Kind = iota + 1
	Ack
	Nak
)

// Answer is what a server says.
type Answer struct {
	Kind  Kind
	Terms Terms // of an offer and an ack
}

const (
	firstWait = time.Second
	maxWait   = 64 * time.Second
	// rebootTries is how often it is asked for the old address before others are, requestTries how often an offer is taken.
	rebootTries  = 2
	requestTries = 3
	// renewWait and mostRenewWait are the first and the longest wait between two questions for more time (RFC 8415, 7.6). Short leases
	// have it shorter, so that there are some before they end.
	renewWait     = 10 * time.Second
	mostRenewWait = 10 * time.Minute
	shortLease    = 20
)

// Machine is one client. Its zero value is none: Seek, Again or Resume make one.
type Machine struct {
	State   State
	Terms   Terms      // what is had, in Bound, Renewing and Rebinding; what is asked for, in Requesting and Rebooting
	Offered netip.Addr // what was refused
	Hint    netip.Addr // what would be good to have
	// Must is the only address that will do; not valid: any.
	Must netip.Addr
	// Jitter makes waits a little longer or shorter, so that those who were started together do not ask together. Nil: none.
	Jitter func(time.Duration) time.Duration

	tries int
	next  time.Time // of the next question
}

// Seek makes one that has nothing. must is the only address that will do, hint one that would be good to have.
func Seek(now time.Time, must, hint netip.Addr) *Machine {
	if must.IsValid() {
		hint = must
	}
	return &Machine{State: Selecting, Must: must, Hint: hint, next: now}
}

// Again makes one that had something before it was away, and would like to go on with it.
func Again(now time.Time, had Terms, must netip.Addr) *Machine {
	addr := had.Address.Addr()
	if had.Expired(now) || must.IsValid() && must != addr {
		return Seek(now, must, addr)
	}
	return &Machine{State: Rebooting, Terms: had, Must: must, Hint: addr, next: now}
}

// Resume makes one that has something, and was not away but for its own process.
func Resume(had Terms, must netip.Addr) *Machine {
	return &Machine{State: Bound, Terms: had, Must: must, Hint: had.Address.Addr()}
}

// Has tells whether there is an address to use.
func (m *Machine) Has() bool { return m.State == Bound || m.State == Renewing || m.State == Rebinding }

// At brings it to a moment. It tells what has happened by the passing of time, whether the question of the state that it is in now is to
// be asked now, and when it must be brought on again at the latest; zero for never.
func (m *Machine) At(now time.Time) (event Event, ask bool, wake time.Time) {
	event = m.advance(now)
	if ask = m.State != Bound && !now.Before(m.next); ask {
		m.next = now.Add(m.wait())
		m.tries++
	}
	return event, ask, m.Wake()
}

// Wake is when it must be brought on at the latest; zero for never.
func (m *Machine) Wake() time.Time {
	switch m.State {
	case Bound:
		return earliest(m.Terms.Renew, m.Terms.Expire)
	case Renewing:
		return earliest(m.next, m.Terms.Rebind)
	case Rebinding:
		return earliest(m.next, m.Terms.Expire)
	}
	return m.next
}

// advance changes the state as time makes it.
func (m *Machine) advance(now time.Time) Event {
	reached := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch m.State {
	case Rebooting:
		if m.tries < rebootTries || now.Before(m.next) {
			return Nothing
		}
		if !m.Terms.Expired(now) { // nobody says no, and it is ours until it ends (RFC 2131, 3.2, RFC 8415, 18.2.3)
			m.enter(Bound, now)
			return Granted
		}
		m.enter(Selecting, now)
	case Requesting:
		if m.tries >= requestTries && !now.Before(m.next) {
			m.enter(Selecting, now)
		}
	case Bound, Renewing, Rebinding:
		switch {
		case m.Terms.Expired(now):
			m.enter(Selecting, now)
			return Lost
		case reached(m.Terms.Rebind):
			m.enter(Rebinding, now)
		case reached(m.Terms.Renew):
			m.enter(Renewing, now)
		}
	}
	return Nothing
}

// enter goes to a state, whose question is due at once.
func (m *Machine) enter(s State, now time.Time) {
	if m.State != s {
		m.State, m.tries, m.next = s, 0, now
	}
}

// wait is how long to wait before asking again.
func (m *Machine) wait() time.Duration {
	first, most := firstWait, maxWait
	if m.State == Renewing || m.State == Rebinding {
		first, most = min(renewWait, max(firstWait, m.Terms.Expire.Sub(m.Terms.Granted)/shortLease)), mostRenewWait
	}
	d := min(first<<min(m.tries, 10), most)
	if m.Jitter != nil {
		d = m.Jitter(d)
	}
	return d
}

// Heard takes an answer. What does not answer the question that was asked last is nothing.
func (m *Machine) Heard(a Answer, now time.Time) Event {
	switch {
	case a.Kind == Nak && (m.State == Requesting || m.State == Rebooting):
		m.restart(now)
		return Nothing
	case a.Kind == Nak && (m.State == Renewing || m.State == Rebinding):
		m.restart(now)
		return Lost
	case a.Kind != Offer && a.Kind != Ack || !a.Terms.Address.IsValid() || m.State == Bound:
		return Nothing
	case a.Kind == Offer && m.State != Selecting, a.Kind == Ack && m.State == Selecting && a.Terms.By != BySLAAC:
		return Nothing
	case m.Must.IsValid() && a.Terms.Address.Addr() != m.Must:
		m.Offered = a.Terms.Address.Addr()
		return Refused
	case a.Terms.Expired(now):
		return Nothing
	}
	m.Terms = a.Terms
	if a.Kind == Offer {
		m.enter(Requesting, now)
		return Nothing
	}
	m.Hint = a.Terms.Address.Addr()
	m.enter(Bound, now)
	return Granted
}

// restart begins anew, and does not ask for the address that was denied.
func (m *Machine) restart(now time.Time) {
	m.Hint = m.Must
	m.enter(Selecting, now)
}

// Declined begins anew, because somebody else has the address that was granted.
func (m *Machine) Declined(now time.Time) { m.restart(now) }

func earliest(times ...time.Time) time.Time {
	var out time.Time
	for _, t := range times {
		if !t.IsZero() && (out.IsZero() || t.Before(out)) {
			out = t
		}
	}
	return out
}
