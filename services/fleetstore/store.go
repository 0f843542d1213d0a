// Package fleetstore runs one member of the fleet's store: an embedded etcd server with safe
// settings. It is a process of its own, so that a restart of the agent does not touch the store.
package fleetstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// Settings of the server.
const (
	quota      = 4 << 30     // bytes of the database
	compaction = "1h"        // history that is kept for watches
	startLimit = time.Minute // until the member takes part in the store
	// The second and the third manager can follow at the same time.
	maxLearners = 8
	lockFile    = "fairlead.lock" // held by the process that uses the directory
)

// Config configures a member.
type Config struct {
	Name      string // unique among the members: the ID of the host
	Dir       string // of the database
	ClientURL string // https://ADDRESS:PORT for agents
	PeerURL   string // https://ADDRESS:PORT for other members
	// Cluster lists all members as NAME=PEER-URL, separated by commas. Used at the first start.
	Cluster  string
	Existing bool // join the listed members instead of founding a store; used at the first start
	Recover  bool // continue alone with the data of this member
	// Client certificates are verified by CA, those of members by PeerCA.
	CA, Cert, Key             string
	PeerCA, PeerCert, PeerKey string
	LogLevel                  string // of etcd: debug, info, warn or error
}

// Check returns an error that names the first option which is missing or unusable.
func (c Config) Check() error {
	for _, o := range []struct{ name, value string }{
		{"name", c.Name}, {"dir", c.Dir}, {"cluster", c.Cluster}, {"ca", c.CA}, {"cert", c.Cert}, {"key", c.Key},
		{"peer-ca", c.PeerCA}, {"peer-cert", c.PeerCert}, {"peer-key", c.PeerKey},
	} {
		if o.value == "" {
			return fault.New(fault.Invalid, "option --"+o.name, "is missing",
				fault.WithHint("the agent starts this program with all options"))
		}
	}
	for name, text := range map[string]string{"client-url": c.ClientURL, "peer-url": c.PeerURL} {
		if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Port() == "" {
			return fault.New(fault.Invalid, "option --"+name,
				fmt.Sprintf("%q is not a URL as in https://192.0.2.1:7451", text))
		}
	}
	return nil
}

// Run runs the member until ctx ends or the server fails.
func Run(ctx context.Context, c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	unlock, err := lock(c.Dir)
	if err != nil {
		return err
	}
	defer unlock()

	server, err := embed.StartEtcd(c.etcd())
	if err != nil {
		return fault.New(fault.Unavailable, "store in "+c.Dir, "cannot be started", fault.WithCause(err))
	}
	defer server.Close()
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		return err
	case <-ctx.Done():
		return nil
	case <-time.After(startLimit):
		// Without the other members there is no leader. The server goes on trying.
	}

	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		return err
	case <-server.Server.StopNotify():
		return fault.New(fault.Unavailable, "store in "+c.Dir, "was removed from the store, or has failed")
	}
}

// etcd returns the configuration of the server.
func (c Config) etcd() *embed.Config {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = c.Name, filepath.Join(c.Dir, "etcd")
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = urls(c.ClientURL), urls(c.ClientURL)
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = urls(c.PeerURL), urls(c.PeerURL)
	cfg.InitialCluster, cfg.ClusterState = c.Cluster, embed.ClusterStateFlagNew
	if c.Existing {
		cfg.ClusterState = embed.ClusterStateFlagExisting
	}
	cfg.ForceNewCluster = c.Recover
	cfg.ClientTLSInfo = transport.TLSInfo{CertFile: c.Cert, KeyFile: c.Key, TrustedCAFile: c.CA, ClientCertAuth: true}
	// A member can connect from another address than that of its certificate. Its authority is enough.
	cfg.PeerTLSInfo = transport.TLSInfo{CertFile: c.PeerCert, KeyFile: c.PeerKey, TrustedCAFile: c.PeerCA,
		SkipClientSANVerify: true,
		ClientCertAuth:      true}
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, compaction
	cfg.QuotaBackendBytes = quota
	cfg.StrictReconfigCheck, cfg.MaxLearners = true, maxLearners
	cfg.LogLevel, cfg.LogOutputs = c.LogLevel, []string{"stderr"}
	return cfg
}

// urls returns the one URL of a text that Check accepts.
func urls(text string) []url.URL {
	u, err := url.Parse(text)
	if err != nil {
		return nil
	}
	return []url.URL{*u}
}

// lock takes the lock of a directory, whose file has the process ID.
func lock(dir string) (func(), error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fault.New(fault.Busy, "store in "+dir, "is in use by another process"), f.Close())
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

func writePID(f *os.File) error {
	_, err := fmt.Fprintf(f, "%d\n", os.Getpid())
	return err
}
