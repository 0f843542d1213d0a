package config_test

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/config"
)

func TestReloadAppliesReloadableKeys(t *testing.T) {
	running := build(t, file("mtu=1400", "pidfile=/a", "dns=1.1.1.1", "data-root=/d"), flags("hosts=unix:///a"))
	next := build(t, file("pidfile=/b", "data-root=/d", "dns=1.1.1.1", "dns=::1", "log-level=debug"),
		flags("hosts=unix:///a", "hosts=unix:///b"))
	merged, changes, err := running.Reload(next)
	if err != nil {
		t.Fatal(err)
	}
	if merged.MTU != 1500 || merged.Pidfile != "/a" || len(merged.DNS) != 2 || merged.LogLevel != slog.LevelDebug ||
		len(merged.Hosts) != 2 {
		t.Errorf("in effect: %+v", merged)
	}
	want := []config.Change{
		{Key: "pidfile", Before: []string{"/a"}, After: []string{"/b"}},
		{Key: "mtu", Before: []string{"1400"}, After: []string{"1500"}, Reloadable: true},
		{Key: "dns", Before: []string{"1.1.1.1"}, After: []string{"1.1.1.1", "::1"}, Reloadable: true},
		{Key: "log-level", Before: []string{"info"}, After: []string{"debug"}, Reloadable: true},
		{Key: "hosts", Before: []string{"unix:///a"}, After: []string{"unix:///a", "unix:///b"}, Reloadable: true},
	}
	if !reflect.DeepEqual(changes, want) {
		t.Errorf("changes %+v\nwant %+v", changes, want)
	}
	if from := merged.OriginOf("pidfile").String() + ", " +
		merged.OriginOf("data-root").String(); from != "/etc/d.json:2, /etc/d.json:2" {
		t.Errorf("pidfile and data-root are from %s", from) // the one as it runs, the other where it stands now
	}
	if _, changes, err := merged.Reload(next); err != nil || len(changes) != 1 || changes[0].Key != "pidfile" {
		t.Errorf("once more: %+v, %v", changes, err)
	}
}

func TestDerivedValuesAreNotChanges(t *testing.T) {
	running := build(t, flags("exec-root=/run/a"))
	merged, changes, err := running.Reload(build(t, flags("exec-root=/run/b")))
	if err != nil || len(changes) != 1 || changes[0].Key != "exec-root" {
		t.Errorf("changes %+v, %v", changes, err)
	}
	if got := merged.Hosts[0].String(); got != "unix:///run/a/fairlead.sock" {
		t.Errorf("it listens on %s", got)
	}
}

func TestReloadRejectsConflicts(t *testing.T) {
	running := build(t, flags("bridge=none"))
	if _, _, err := running.Reload(build(t, flags("bip=10.0.0.1/24"))); err == nil ||
		!strings.HasPrefix(err.Error(), "bip (flag --bip): has no effect: bridge") {
		t.Errorf("%v", err)
	}
}
