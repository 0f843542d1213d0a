package stats

import "testing"

func TestParseNetworks(t *testing.T) {
	got := parseNetworks(`Inter-|   Receive                            |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:   10    1    0    0    0     0          0         0       10       1    0    0    0     0       0          0
  eth0: 123456 12    1    2    0     0          0         0      789       8    3    4    0     0       0          0
`)
	want := Network{Interface: "eth0", ReceivedBytes: 123456, ReceivedPackets: 12, ReceiveErrors: 1, ReceiveDropped: 2,
		TransmittedBytes: 789, TransmittedPackets: 8, TransmissionErrors: 3, TransmissionsDropped: 4}
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
