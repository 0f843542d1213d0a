package hostinfo_test

import (
	"bytes"
	"testing"
	"time"

	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apitest"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/translate/hostinfo"
)

func TestInfoIsDockers(t *testing.T) {
	host := &hostv1.GetInfoResponse{Version: "0.1.0", KernelVersion: "6.1.0", Os: "linux", Architecture: "amd64",
		CgroupVersion: "2", Runtime: "/usr/bin/crun", DataRoot: "/var/lib/fairlead",
		NetworkDrivers: []string{"bridge", "host"}, Images: 3,
		Containers: map[string]uint32{"running": 2, "restarting": 1, "paused": 1, "exited": 4, "created": 1},
		Id:         "0000-1", HostName: "vm", OperatingSystem: "Debian", Cpus: 2, Memory: 1 << 30,
		LogDriver: "json-file", LogDrivers: []string{"json-file", "none"}, InitPath: "/usr/bin/tini-static",
		Limits: []string{"memory", "pids", "cpu-quota"}, Ipv4Forwarding: true,
		Runtimes:        map[string]string{"crun": "/usr/bin/crun"},
		RegistryMirrors: []string{"https://m"}, InsecureRegistries: []string{"10.0.0.0/8", "reg:5000"}}
	doc := hostinfo.FromProto(host, "nftables", time.Unix(1, 0).UTC(), apiversion.Max)
	apitest.Golden(t, "info", doc)
	apitest.Validate(t, "GET /info", 200, doc)
	if doc.ContainersStopped != 5 || doc.ContainersRunning != 3 {
		t.Errorf("got %d running, %d stopped, want 3 and 5", doc.ContainersRunning, doc.ContainersStopped)
	}

	old := apitest.Text(t, hostinfo.FromProto(host, "nftables", time.Unix(1, 0).UTC(), apiversion.V(41)))
	if !bytes.Contains(old, []byte("BridgeNfIptables")) || bytes.Contains(old, []byte("FirewallBackend")) {
		t.Errorf("version 1.41: got %s", old)
	}
}
