package etcd

import "context"

// Foreign is a client of a store whose users this program does not manage. Who may do what there is decided
// in front of it.
type Foreign struct{ *Client }

// Admit does nothing.
func (Foreign) Admit(context.Context, string, string, ...string) error { return nil }

// Expel does nothing.
func (Foreign) Expel(context.Context, string) error { return nil }

// Empower does nothing.
func (Foreign) Empower(context.Context, string) error { return nil }

// Disempower does nothing.
func (Foreign) Disempower(context.Context, string) error { return nil }
