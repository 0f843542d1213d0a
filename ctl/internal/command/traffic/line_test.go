package traffic

import (
	"fmt"
	"testing"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

func TestLineIsSeenByContainer(t *testing.T) {
	d := &directory{owners: map[string]owner{"10.0.0.2": {id: "id2", name: "web"}, "10.0.0.3": {id: "id3", name: "db"}},
		resolved: map[string]map[string]string{"id2": {"198.51.100.1": "good.test", "10.1.0.2": "api"}, "id3": {}},
		others:   map[string]other{"10.1.0.2": {"api-1", "two"}}}
	for name, c := range map[string]struct {
		in   *natv1.Connection
		want string
	}{
		"out": {&natv1.Connection{Source: "10.0.0.2", SourcePort: 1000, Destination: "198.51.100.1",
			DestinationPort: 443, Target: "198.51.100.1", TargetPort: 443, SentBytes: 1, ReceivedBytes: 2,
			Rule: "good.test"},
			"web out :1000 198.51.100.1:443 good.test  1/2 good.test UNANSWERED"},
		"out to another host": {&natv1.Connection{Source: "10.0.0.2", SourcePort: 1000, Destination: "10.1.0.2",
			DestinationPort: 80, Target: "10.1.0.2", TargetPort: 80},
			"web out :1000 10.1.0.2:80 api-1.two  0/0  UNANSWERED"},
		"in from another host": {&natv1.Connection{Source: "10.1.0.2", SourcePort: 5, Destination: "10.0.0.3",
			DestinationPort: 80, Target: "10.0.0.3", TargetPort: 80},
			"db in :80 10.1.0.2:5 api-1.two  0/0  UNANSWERED"},
		"out to a published port": {&natv1.Connection{Source: "10.0.0.2", SourcePort: 1000, Destination: "192.0.2.1",
			DestinationPort: 80, Target: "10.0.0.3", TargetPort: 8080, State: "ESTABLISHED",
			Event: natv1.ConnectionEvent_CONNECTION_EVENT_NEW},
			"web out :1000 192.0.2.1:80 db 10.0.0.3:8080 0/0  ESTABLISHED"},
		"in": {&natv1.Connection{Source: "198.51.100.1", SourcePort: 5, Destination: "192.0.2.1", DestinationPort: 80,
			Target: "10.0.0.3", TargetPort: 8080, SentBytes: 1, ReceivedBytes: 2, Replied: true},
			"db in :8080 198.51.100.1:5   2/1  ANSWERED"},
	} {
		l, ok := d.lineOf(c.in)
		target := ""
		if l.TargetAddress != "" {
			target = joinPort(l.TargetAddress, l.TargetPort)
		}
		got := fmt.Sprintf("%s %s :%d %s %s %s %d/%d %s %s", l.Container, l.Direction, l.LocalPort,
			joinPort(l.PeerAddress, l.PeerPort), l.peerName(), target, l.SentBytes, l.ReceivedBytes, l.Rule, l.State)
		if !ok || got != c.want {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, c.want)
		}
	}
	if _, ok := d.lineOf(&natv1.Connection{Source: "10.0.0.9", Target: "10.0.0.8"}); ok {
		t.Error("a connection without a container is listed")
	}
}

func TestFilters(t *testing.T) {
	l := line{Protocol: "tcp", LocalPort: 1, PeerPort: 443, PeerAddress: "198.51.100.1", Peer: "good.test"}
	for _, o := range []options{{}, {port: 443}, {port: 1}, {peer: "good.test"}, {peer: "198.51.100.1"},
		{protocol: "tcp"}} {
		if !o.selects(l) {
			t.Errorf("%+v does not select %+v", o, l)
		}
	}
	for _, o := range []options{{port: 2}, {peer: "bad.test"}, {protocol: "udp"}} {
		if o.selects(l) {
			t.Errorf("%+v selects %+v", o, l)
		}
	}
}

func TestProtocolIsChecked(t *testing.T) {
	for protocol, valid := range map[string]bool{"": true, "tcp": true, "icmp": true, "47": true, "foo": false,
		"TCP": false, "256": false, "-1": false} {
		o := options{protocol: protocol}
		if err := o.checkProtocol(); (err == nil) != valid {
			t.Errorf("%q: got %v", protocol, err)
		}
	}
}
