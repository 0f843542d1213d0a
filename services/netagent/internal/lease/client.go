package lease

import (
	"net/netip"
	"time"
)

// State is a client state in the terms of RFC 2131. DHCPv6 and SLAAC clients use the same states.
type State string

// The client states.
const (
	Selecting  State = "selecting"  // requests any address (DISCOVER, SOLICIT, router solicitation)
	Requesting State = "requesting" // requests the offered address (REQUEST)
	Rebooting  State = "rebooting"  // requests confirmation of an earlier lease (REQUEST, CONFIRM)
	Bound      State = "bound"
	Renewing   State = "renewing"  // requests an extension from its server (REQUEST, RENEW)
	Rebinding  State = "rebinding" // requests an extension from any server (REQUEST, REBIND)
)

// Event is a change of a client's lease.
type Event int

// The lease events.
const (
	NoEvent Event = iota
	Granted       // the lease was acquired, renewed or rebound
	Lost          // the address must not be used any more
	Refused       // a server offered another address than the required one; it is in Offered
)

// ReplyKind is the type of a server's message.
type ReplyKind int

// The reply kinds.
const (
	Offer ReplyKind = iota + 1
	Ack
	Nak
)

// Reply is a message from a server.
type Reply struct {
	Kind  ReplyKind
	Terms Terms // set in Offer and Ack
}

const (
	firstWait = time.Second
	maxWait   = 64 * time.Second
	// rebootTries limits the requests for the earlier address, requestTries those for an offer.
	rebootTries  = 2
	requestTries = 3
	// renewWait and mostRenewWait are the first and the longest interval between renewal requests
	// (RFC 8415, 7.6). Short leases start with lifetime/shortLease, so that several requests fit.
	renewWait     = 10 * time.Second
	mostRenewWait = 10 * time.Minute
	shortLease    = 20
)

// Client is the state machine of one lease. Create it with NewInit, NewReboot or NewBound. It is
// not safe for concurrent use.
type Client struct {
	State     State
	Terms     Terms      // the lease in Bound, Renewing and Rebinding; the request in Requesting and Rebooting
	Offered   netip.Addr // the address that was refused
	Preferred netip.Addr // the address to request first
	// Required is the only acceptable address. Zero: any.
	Required netip.Addr
	// Jitter varies the intervals, so that clients started together do not send together.
	// Nil: no jitter.
	Jitter func(time.Duration) time.Duration

	tries int
	next  time.Time // time of the next request
}

// NewInit creates a client without a lease. must is the only acceptable address, hint the preferred
// one; both can be zero.
func NewInit(now time.Time, must, hint netip.Addr) *Client {
	if must.IsValid() {
		hint = must
	}
	return &Client{State: Selecting, Required: must, Preferred: hint, next: now}
}

// NewReboot creates a client that confirms a lease from before an interruption. must is the only
// acceptable address, or zero.
func NewReboot(now time.Time, had Terms, must netip.Addr) *Client {
	addr := had.Address.Addr()
	if had.Expired(now) || must.IsValid() && must != addr {
		return NewInit(now, must, addr)
	}
	return &Client{State: Rebooting, Terms: had, Required: must, Preferred: addr, next: now}
}

// NewBound creates a client whose lease stayed in use while its process restarted.
func NewBound(had Terms, must netip.Addr) *Client {
	return &Client{State: Bound, Terms: had, Required: must, Preferred: had.Address.Addr()}
}

// HasAddress reports whether the client has a usable address.
func (m *Client) HasAddress() bool {
	return m.State == Bound || m.State == Renewing || m.State == Rebinding
}

// Tick advances the client to a point in time. It returns the event caused by timers and whether to
// send the request of the current state now. wake is the latest time of the next Tick; zero: none
// is needed.
func (m *Client) Tick(now time.Time) (event Event, ask bool, wake time.Time) {
	event = m.advance(now)
	if ask = m.State != Bound && !now.Before(m.next); ask {
		m.next = now.Add(m.wait())
		m.tries++
	}
	return event, ask, m.Wake()
}

// Wake returns the latest time of the next Tick; zero: none is needed.
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

// advance applies the timers that have expired.
func (m *Client) advance(now time.Time) Event {
	reached := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch m.State {
	case Rebooting:
		if m.tries < rebootTries || now.Before(m.next) {
			return NoEvent
		}
		// The lease stays valid without a response (RFC 2131, 3.2, RFC 8415, 18.2.3).
		if !m.Terms.Expired(now) {
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

// enter changes the state. The request of a new state is due immediately.
func (m *Client) enter(s State, now time.Time) {
	if m.State != s {
		m.State, m.tries, m.next = s, 0, now
	}
}

// wait returns the interval to the next request.
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

// Receive processes a server's message. It ignores messages that do not respond to the last
// request.
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

// restart returns to Selecting without requesting the denied address again.
func (m *Client) restart(now time.Time) {
	m.Preferred = m.Required
	m.enter(Selecting, now)
}

// Declined restarts the client because another host uses the granted address.
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
