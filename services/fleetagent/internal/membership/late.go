package membership

import (
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
)

// SignLate signs and saves a certificate for a manager whose own is late, without the store: other hosts and the
// store accept no expired one, and are asked before the store is started. It does nothing if the certificate is not
// late, and on other hosts.
func SignLate(dir string, m *Membership, now time.Time) error {
	if !m.IsManager() || now.Before(pki.RenewAt(m.Cert)) {
		return nil
	}
	address, err := netip.ParseAddr(m.Address)
	if err != nil {
		return err
	}
	who, err := m.Identity()
	if err != nil {
		return err
	}
	key, cert, err := m.Authority.Issue(who, address, pki.HostLife, now)
	if err != nil {
		return err
	}
	m.Key, m.Cert = key, cert
	return Save(dir, m)
}
