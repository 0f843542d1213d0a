package external

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// connectTime limits the wait for a connection with one server.
const connectTime = 5 * time.Second

// State is the state of one server of the store, or why it is not known.
type State struct {
	URL string
	etcd.Status
	Err error
}

// Dial returns a client of the store. It does not wait for a connection.
func (s *Store) Dial(now func() time.Time) (*etcd.Client, error) {
	config, err := s.TLS(now)
	if err != nil {
		return nil, err
	}
	return etcd.Dial(s.Endpoints, config)
}

func (s *Store) ask(ctx context.Context, client *etcd.Client, now func() time.Time) ([]State, error) {
	config, err := s.TLS(now)
	if err != nil {
		return nil, err
	}
	states := make([]State, len(s.Endpoints))
	var asked sync.WaitGroup
	for i, endpoint := range s.Endpoints {
		asked.Go(func() {
			states[i] = State{URL: endpoint, Err: connect(ctx, endpoint, config)}
			if states[i].Err != nil {
				return
			}
			states[i].Status, states[i].Err = client.Status(ctx, endpoint)
		})
	}
	asked.Wait()
	return states, nil
}

// connect connects with one server, to learn why that fails. A client does not say it.
func connect(ctx context.Context, endpoint string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	u, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return fault.New(fault.Unavailable, "store at "+endpoint, "cannot be reached", fault.WithCause(err),
			fault.WithHint("check the address, and that a firewall does not close the port"))
	}
	defer conn.Close()
	named := config.Clone()
	named.ServerName, named.NextProtos = u.Hostname(), []string{"h2"}
	secured := tls.Client(conn, named)
	if err = secured.HandshakeContext(ctx); err == nil {
		err = greet(ctx, secured)
	}

	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return fault.New(fault.Denied, "store at "+endpoint, "has a certificate of another authority",
			fault.WithCause(err), fault.WithHint("check --store-ca"))
	case errors.As(err, &name), errors.As(err, &invalid):
		return fault.New(fault.Denied, "store at "+endpoint, "has a certificate that is not valid for it",
			fault.WithCause(err))
	}
	if strings.Contains(err.Error(), "remote error: tls: ") {
		return fault.New(fault.Denied, "store at "+endpoint, "does not accept the client certificate",
			fault.WithCause(err), fault.WithHint("check --store-cert and the --trusted-ca-file of the server"))
	}
	return fault.New(fault.Unavailable, "store at "+endpoint, "does not establish TLS", fault.WithCause(err))
}

// greeting starts a connection with HTTP/2: the preface and a frame with no settings.
const greeting = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// greet waits for the first byte of a server: with TLS 1.3, it rejects a certificate after the handshake.
func greet(ctx context.Context, conn *tls.Conn) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(conn, greeting); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// Fit returns an error if the servers cannot keep the records of a fleet.
func Fit(states []State) error {
	for _, s := range states {
		if s.Err != nil {
			return s.Err
		}
	}
	for _, s := range states {
		if err := etcd.CheckVersion(s.Version); err != nil {
			return fault.New(fault.Conflict, "store at "+s.URL, "cannot be used", fault.WithCause(err))
		}
		switch first := states[0]; {
		case s.Cluster != first.Cluster:
			return fault.New(fault.Conflict, "store at "+s.URL, "is of another cluster than that at "+first.URL)
		case s.Learner:
			return fault.New(fault.Conflict, "store at "+s.URL, "is a learner, which does not answer clients",
				fault.WithHint("promote it, or leave it out"))
		case s.Leader == 0:
			return fault.New(fault.Unavailable, "store at "+s.URL, "has no leader, and so accepts no changes",
				fault.WithHint("start the other members of its cluster"))
		case len(s.Problems) > 0:
			return fault.New(fault.Unavailable, "store at "+s.URL, "accepts no changes: "+
				strings.Join(s.Problems, ", "), fault.WithHint("see etcdctl alarm list"))
		}
	}
	return nil
}

// Prepare returns an error if the store cannot become that of a new fleet.
func (s *Store) Prepare(ctx context.Context, now func() time.Time) error {
	return s.with(now, func(client *etcd.Client) error {
		if err := s.fit(ctx, client, now); err != nil {
			return err
		}
		return s.CheckUnused(ctx, client)
	})
}

// Replace returns the store with other endpoints or credentials, with the records of the same fleet. It records that
// these are the newest, so that of two changes at the same time one is refused, and one by a manager that does not have
// the newest credentials, unless it has all of them.
func (s *Store) Replace(ctx context.Context, changed *Store, keys record.Keys, now func() time.Time) (*Store, error) {
	next, err := s.With(changed)
	if err == nil {
		err = next.Check(now())
	}
	if err != nil {
		return nil, err
	}
	complete := len(changed.Endpoints) > 0 && len(changed.CA) > 0 && len(changed.Cert) > 0
	return next, next.with(now, func(client *etcd.Client) error {
		if err := next.fit(ctx, client, now); err != nil {
			return err
		}
		value, found, err := client.Get(ctx, keys.Settings())
		if err == nil && !found {
			return Other(next.Endpoints)
		} else if err != nil {
			return next.Explain(err)
		}
		settings := &fleetv1.FleetSettings{}
		if err := record.Decode(value.Key, value.Data, settings); err != nil {
			return err
		}
		if settings.GetStoreSerial() > s.Serial && !complete {
			return fault.New(fault.Conflict, "store", "has newer credentials, which this manager has not received yet",
				fault.WithHint("try again in a few seconds, or use all of --store, --store-ca, --store-cert and "+
					"--store-key"))
		}
		next.Serial = max(s.Serial+1, settings.GetStoreSerial()+1, FirstSerial(now()))
		return next.announce(ctx, client, value, settings)
	})
}

// announce records that the credentials are the newest.
func (s *Store) announce(ctx context.Context, client *etcd.Client, seen etcd.Value,
	settings *fleetv1.FleetSettings) error {
	settings.StoreSerial = s.Serial
	data, err := record.Encode(settings)
	if err != nil {
		return err
	}
	done, err := client.Commit(ctx, []etcd.Condition{etcd.Unchanged(seen.Key, seen.Revision)}, etcd.Put(seen.Key, data))
	if err == nil && !done {
		return fault.New(fault.Busy, "settings of the fleet", "were changed meanwhile", fault.WithHint("try again"))
	}
	return s.Explain(err)
}

// FirstSerial returns the serial number of the first credentials of a fleet.
func FirstSerial(now time.Time) uint64 { return uint64(max(1, now.Unix())) } //nolint:gosec // positive

// Empty deletes the records of a fleet that was not created completely.
func (s *Store) Empty(ctx context.Context, keys record.Keys, now func() time.Time) error {
	return s.with(now, func(client *etcd.Client) error {
		_, err := client.Commit(ctx, nil, etcd.DeleteBelow(keys.All()))
		return err
	})
}

// States asks all servers for their states.
func (s *Store) States(ctx context.Context, now func() time.Time) (states []State, err error) {
	return states, s.with(now, func(client *etcd.Client) error {
		states, err = s.ask(ctx, client, now)
		return err
	})
}

// with calls a function with a client.
func (s *Store) with(now func() time.Time, call func(*etcd.Client) error) error {
	client, err := s.Dial(now)
	if err != nil {
		return err
	}
	return errors.Join(call(client), client.Close())
}

func (s *Store) fit(ctx context.Context, client *etcd.Client, now func() time.Time) error {
	states, err := s.ask(ctx, client, now)
	if err == nil {
		err = Fit(states)
	}
	return err
}

// CheckUnused returns an error if the prefix has keys of a fleet.
func (s *Store) CheckUnused(ctx context.Context, client *etcd.Client) error {
	root := record.Root(s.Prefix)
	key, found, err := client.FirstKey(ctx, root)
	if err != nil {
		return s.Explain(err)
	}
	if !found {
		return nil
	}
	fleet, _, _ := strings.Cut(strings.TrimPrefix(key, root), "/")
	return fault.New(fault.Exists, fmt.Sprintf("store prefix %q", s.Prefix),
		"is in use by fleet "+fleet[:min(12, len(fleet))], fault.WithHint("use another --store-prefix; or, if that "+
			"fleet has ended: etcdctl del --prefix %s%s/", root, fleet))
}

// Other is the error of a store without the records of the fleet.
func Other(endpoints []string) error {
	return fault.New(fault.Conflict, "store at "+strings.Join(endpoints, ", "),
		"has no records of this fleet: it is another cluster, or they were deleted",
		fault.WithHint("check to which address the name of the store resolves, or restore the cluster from a snapshot"))
}

// Explain returns what the certificate lacks if the store has refused a call.
func (s *Store) Explain(err error) error {
	if fault.KindOf(err) != fault.Denied {
		return err
	}
	root := record.Root(s.Prefix)
	return fault.New(fault.Denied, "store", "does not allow the client certificate to read and write keys below "+root,
		fault.WithCause(errors.Unwrap(err)),
		fault.WithHint("etcdctl role grant-permission ROLE readwrite --prefix=true %s", root))
}
