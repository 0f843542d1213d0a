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
	NoEvent Event = iota
	Granted       // there is an address, or more time for it
	Lost          // the address must not be used any more
	Refused       // a server offers, but not the address that is wanted; it is in Offered
)

// ReplyKind is what a server answered.
type ReplyKind int

// The answers.
const (
	Offer ReplyKind = iota + 1
	Ack
	Nak
)

// Reply is what a server says.
type Reply struct {
	Kind  ReplyKind
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

// Client is one client. Its zero value is none: Seek, Again or Resume make one.
type Client struct {
	State     State
	Terms     Terms      // what is had, in Bound, Renewing and Rebinding; what is asked for, in Requesting and Rebooting
	Offered   netip.Addr // what was refused
	Preferred netip.Addr // what would be good to have
	// Required is the only address that will do; not valid: any.
	Required netip.Addr
	// Jitter makes waits a little longer or shorter, so that those who were started together do not ask together. Nil: none.
	Jitter func(time.Duration) time.Duration

	tries int
	next  time.Time // of the next question
}

// NewInit makes one that has nothing. must is the only address that will do, hint one that would be good to have.
func NewInit(now time.Time, must, hint netip.Addr) *Client {
	if must.IsValid() {
		hint = must
	}
	return &Client{State: Selecting, Required: must, Preferred: hint, next: now}
}

// NewReboot makes one that had something before it was away, and would like to go on with it.
func NewReboot(now time.Time, had Terms, must netip.Addr) *Client {
	addr := had.Address.Addr()
	if had.Expired(now) || must.IsValid() && must != addr {
		return NewInit(now, must, addr)
	}
	return &Client{State: Rebooting, Terms: had, Required: must, Preferred: addr, next: now}
}

// NewBound makes one that has something, and was not away but for its own process.
func NewBound(had Terms, must netip.Addr) *Client {
	return &Client{State: Bound, Terms: had, Required: must, Preferred: had.Address.Addr()}
}

// HasAddress tells whether there is an address to use.
func (m *Client) HasAddress() bool {
	return m.State == Bound || m.State == Renewing || m.State == Rebinding
}

// Tick brings it to a moment. It tells what has happened by the passing of time, whether the question of the state that it is in now is to
// be asked now, and when it must be brought on again at the latest; zero for never.
func (m *Client) Tick(now time.Time) (event Event, ask bool, wake time.Time) {
	event = m.advance(now)
	if ask = m.State != Bound && !now.Before(m.next); ask {
		m.next = now.Add(m.wait())
		m.tries++
	}
	return event, ask, m.Wake()
}

// Wake is when it must be brought on at the latest; zero for never.
func (m *Client) Wake() time.Time {
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
func (m *Client) advance(now time.Time) Event {
	reached := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch m.State {
	case Rebooting:
		if m.tries < rebootTries || now.Before(m.next) {
			return NoEvent
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
	return NoEvent
}

// enter goes to a state, whose question is due at once.
func (m *Client) enter(s State, now time.Time) {
	if m.State != s {
		m.State, m.tries, m.next = s, 0, now
	}
}

// wait is how long to wait before asking again.
func (m *Client) wait() time.Duration {
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

// Receive takes an answer. What does not answer the question that was asked last is nothing.
func (m *Client) Receive(a Reply, now time.Time) Event {
	switch {
	case a.Kind == Nak && (m.State == Requesting || m.State == Rebooting):
		m.restart(now)
		return NoEvent
	case a.Kind == Nak && (m.State == Renewing || m.State == Rebinding):
		m.restart(now)
		return Lost
	case a.Kind != Offer && a.Kind != Ack || !a.Terms.Address.IsValid() || m.State == Bound:
		return NoEvent
	case a.Kind == Offer && m.State != Selecting, a.Kind == Ack && m.State == Selecting && a.Terms.Protocol != BySLAAC:
		return NoEvent
	case m.Required.IsValid() && a.Terms.Address.Addr() != m.Required:
		m.Offered = a.Terms.Address.Addr()
		return Refused
	case a.Terms.Expired(now):
		return NoEvent
	}
	m.Terms = a.Terms
	if a.Kind == Offer {
		m.enter(Requesting, now)
		return NoEvent
	}
	m.Preferred = a.Terms.Address.Addr()
	m.enter(Bound, now)
	return Granted
}

// restart begins anew, and does not ask for the address that was denied.
func (m *Client) restart(now time.Time) {
	m.Preferred = m.Required
	m.enter(Selecting, now)
}

// Declined begins anew, because somebody else has the address that was granted.
func (m *Client) Declined(now time.Time) { m.restart(now) }

func earliest(times ...time.Time) time.Time {
	var out time.Time
	for _, t := range times {
		if !t.IsZero() && (out.IsZero() || t.Before(out)) {
			out = t
		}
	}
	return out
}
