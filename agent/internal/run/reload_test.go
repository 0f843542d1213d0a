package run_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/run"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/fault"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
)

// taking is a service that accepts configurations and records their MTUs.
func taking(s service.Spec, mtus *[]int, refuse int) service.Spec {
	s.Reload = func(_ context.Context, _ service.Service, h service.Deps) error {
		*mtus = append(*mtus, h.Config.MTU)
		if h.Config.MTU == refuse {
			return fault.New(fault.Unavailable, "service "+s.Name, "does not take it")
		}
		return nil
	}
	return s
}

func (r *roots) reload(socket string) (*agentv1.ReloadConfigResponse, error) {
	return agentv1.NewConfigServiceClient(r.dial(socket)).ReloadConfig(r.ctx, &agentv1.ReloadConfigRequest{})
}

// shown returns the configuration in effect as "KEY=TEXT,TEXT (ORIGIN)".
func (r *roots) shown(socket, key string) string {
	r.t.Helper()
	res, err := agentv1.NewConfigServiceClient(r.dial(socket)).GetConfig(r.ctx, &agentv1.GetConfigRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range res.GetSettings() {
		if s.GetKey() == key {
			var texts []string
			for _, v := range s.GetValues() {
				texts = append(texts, v.GetText())
			}
			return key + "=" + strings.Join(texts, ",") + " (" + s.GetValues()[0].GetOrigin() + ")"
		}
	}
	return ""
}

func TestReloadUpdatesServicesAndListeners(t *testing.T) {
	old, fresh := freeAddress(t), freeAddress(t)
	public := "unix://" + t.TempDir() + "/s"
	r := newRoots(t, flag("hosts", public), flag("hosts", "tcp://"+old))
	var mtus []int
	r.start("agent", true, taking(natService(), &mtus, 0), supervisorService())
	kept, err := net.Dial("tcp", old)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kept.Close() }()
	_ = kept.SetReadDeadline(time.Now().Add(timeout))
	if _, err := kept.Read(make([]byte, 1)); err != nil { // of the server's first frame: it has accepted the connection
		t.Fatal(err)
	}
	r.write(flag("hosts", public), flag("hosts", "tcp://"+fresh), flag("mtu", "1400"), flag("icc", "false"))

	ask := &agentv1.ReloadConfigRequest{DryRun: true}
	dry, err := agentv1.NewConfigServiceClient(r.dial("nat")).ReloadConfig(r.ctx, ask)
	if err != nil || len(dry.GetChanges()) != 3 || mtus != nil || r.shown("nat", "mtu") != "mtu=1500 (default)" {
		t.Errorf("a dry run: %v, %v; MTUs %v", dry, err, mtus)
	}
	done, err := r.reload("nat")
	if err != nil || len(done.GetWarnings()) != 1 || done.GetChanges()[1].GetKey() != "icc" ||
		done.GetChanges()[1].GetApplied() || !done.GetChanges()[0].GetApplied() {
		t.Errorf("%v, %v", done, err)
	}
	if !slices.Equal(mtus, []int{1400}) {
		t.Errorf("the service got MTUs %v", mtus)
	}
	if got := r.shown("nat", "mtu") + " " + r.shown("nat", "icc"); got != "mtu=1400 (flag --mtu) icc=true (default)" {
		t.Errorf("in effect: %s", got)
	}
	if _, err := net.Dial("tcp", old); err == nil {
		t.Error("the old listener is still open")
	}
	added, err := net.Dial("tcp", fresh)
	if err != nil {
		t.Fatalf("the new address: %v", err)
	}
	_ = added.Close()
	_ = kept.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	for err == nil { // the rest of the frame, and then nothing
		_, err = kept.Read(make([]byte, 64))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection through the old address: %v", err)
	}
}

func TestRejectedReloadChangesNothing(t *testing.T) {
	r := newRoots(t)
	var before, after []int
	r.start("agent", true, taking(netService(), &before, 0), taking(natService(), &after, 1400))
	more := t.TempDir() + "/more"
	r.write(flag("mtu", "1400"), flag("hosts", "unix://"+more))
	if _, err := r.reload("net"); err == nil || !strings.Contains(err.Error(), "service nat: does not take it") {
		t.Errorf("%v", err)
	}
	if !slices.Equal(before, []int{1400, 1500}) || !slices.Equal(after, []int{1400}) {
		t.Errorf("the services got MTUs %v and %v", before, after)
	}
	if _, err := os.Stat(more); !os.IsNotExist(err) || r.shown("fairlead", "mtu") != "mtu=1500 (default)" {
		t.Errorf("%s is there: %v; in effect: %s", more, err, r.shown("fairlead", "mtu"))
	}
}

func TestReloadUpdatesOtherProcesses(t *testing.T) {
	r := newRoots(t)
	var mtus []int
	r.start("nat", false, taking(natService(), &mtus, 0))
	r.start("supervisor", true, supervisorService())
	r.write(flag("mtu", "1400"))
	res, err := r.reload("fairlead")
	if err != nil || len(res.GetChanges()) != 1 || !slices.Equal(mtus, []int{1400}) {
		t.Errorf("%v, %v; MTUs %v", res, err, mtus)
	}
	warnings := strings.Join(res.GetWarnings(), "\n")
	for _, name := range []string{"net", "dns"} {
		if !strings.Contains(warnings, "service "+name+" is not responding and was not reloaded") {
			t.Errorf("no warning about service %s, which is not running: %s", name, warnings)
		}
	}
}

func TestSignalReloadsAndChangesLogLevel(t *testing.T) {
	r := newRoots(t)
	var mtus []int
	level := new(slog.LevelVar)
	o := r.options("agent", false, taking(natService(), &mtus, 0), netService())
	o.Level = level
	result := make(chan error, 1)
	r.results = append(r.results, result)
	go func() { result <- run.Run(r.running, o) }()
	r.write(flag("debug", "true"))
	r.hangups <- struct{}{} // received when the agent is ready
	for level.Level() != slog.LevelDebug {
		if r.ctx.Err() != nil {
			t.Fatal("the level does not change")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestReloadReadsCertificates(t *testing.T) {
	own := newAuthority(t)
	own.issue("agent")
	address := freeAddress(t)
	settings := []config.Setting{flag("hosts", "tcp://"+address), flag("tlsverify", "true"),
		flag("tlscacert", own.dir+"/ca.pem"),
		flag("tlscert", own.dir+"/agent.pem"), flag("tlskey", own.dir+"/agent.key")}
	r := newRoots(t, slices.Clone(settings)...)
	r.start("agent", true, supervisorService())
	me := own.issue("me")
	serial := func() string {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true,
			Certificates: []tls.Certificate{me}, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return fmt.Sprint(conn.ConnectionState().PeerCertificates[0].SerialNumber)
	}
	first := serial()
	own.issue("agent")
	if _, err := r.reload("supervisor"); err != nil {
		t.Fatal(err)
	}
	if second := serial(); second == first {
		t.Errorf("the certificate is still %s", first)
	}
	if err := os.WriteFile(own.dir+"/agent.pem", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.reload("supervisor"); err == nil || !strings.Contains(err.Error(), "cannot be used") {
		t.Errorf("with an empty certificate: %v", err)
	}
	if health, err := grpc_health_v1.NewHealthClient(r.dial("supervisor")).Check(r.ctx,
		&grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("%v, %v", health, err)
	}
}
