package config_test

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/config"
)

func TestAReloadTakesLiveKeysAndTellsOfTheOthers(t *testing.T) {
	running := build(t, file("mtu=1400", "bip=10.0.0.1/24", "dns=1.1.1.1", "data-root=/d"), flags("hosts=unix:///a"))
	next := build(t, file("bip=10.0.1.1/24", "data-root=/d", "dns=1.1.1.1", "dns=::1", "log-level=debug"), flags("hosts=unix:///a", "hosts=unix:///b"))
	merged, changes, err := running.Reload(next)
	if err != nil {
		t.Fatal(err)
	}
	if merged.MTU != 1500 || merged.BIP.String() != "10.0.0.1/24" || len(merged.DNS) != 2 || merged.LogLevel != slog.LevelDebug || len(merged.Hosts) != 2 {
		t.Errorf("in effect: %+v", merged)
	}
	want := []config.Change{
		{Key: "bip", Before: []string{"10.0.0.1/24"}, After: []string{"10.0.1.1/24"}},
		{Key: "mtu", Before: []string{"1400"}, After: []string{"1500"}, Live: true},
		{Key: "dns", Before: []string{"1.1.1.1"}, After: []string{"1.1.1.1", "::1"}, Live: true},
		{Key: "log-level", Before: []string{"info"}, After: []string{"debug"}, Live: true},
		{Key: "hosts", Before: []string{"unix:///a"}, After: []string{"unix:///a", "unix:///b"}, Live: true},
	}
	if !reflect.DeepEqual(changes, want) {
		t.Errorf("changes %+v\nwant %+v", changes, want)
	}
	if from := merged.From("bip").String() + ", " + merged.From("data-root").String(); from != "/etc/d.json:2, /etc/d.json:2" {
		t.Errorf("bip and data-root are from %s", from) // bip as it runs, data-root where it stands now
	}
	if _, changes, err := merged.Reload(next); err != nil || len(changes) != 1 || changes[0].Key != "bip" {
		t.Errorf("once more: %+v, %v", changes, err)
	}
}

func TestWhatIsComputedIsNoChange(t *testing.T) {
	running := build(t, flags("exec-root=/run/a"))
	merged, changes, err := running.Reload(build(t, flags("exec-root=/run/b")))
	if err != nil || len(changes) != 1 || changes[0].Key != "exec-root" {
		t.Errorf("changes %+v, %v", changes, err)
	}
	if got := merged.Hosts[0].String(); got != "unix:///run/a/fairlead.sock" {
		t.Errorf("it listens on %s", got)
	}
}

func TestAReloadThatWouldNotFitTogetherIsRefused(t *testing.T) {
	running := build(t, flags("ipv6=true"))
	if _, _, err := running.Reload(build(t, flags("mtu=1000"))); err == nil || !strings.HasPrefix(err.Error(), "mtu (flag --mtu): 1000 is too small for IPv6") {
		t.Errorf("%v", err)
	}
}
