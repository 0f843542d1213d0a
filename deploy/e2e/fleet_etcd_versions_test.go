package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// TestFleetOnServersOfEtcd uses the oldest servers that are accepted, and one that is too old.
func TestFleetOnServersOfEtcd(t *testing.T) {
	servers, err := filepath.Glob("testdata/etcd/*")
	if err != nil || len(servers) == 0 {
		t.Fatalf("got no versions, error %v", err)
	}
	for _, dir := range servers {
		version := filepath.Base(dir)
		t.Run(version, func(t *testing.T) {
			program, err := filepath.Abs(filepath.Join(clientsDir, "etcd-"+version))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(program); err != nil {
				t.Skip("this server of etcd is not built: make etcd")
			}
			needPrograms(t, "crun", "conmon")
			f := newFleet(t, lab.AllInOne, 2)
			f.serveImages()
			e := f.etcd(program)
			e.start()
			created := e.init()
			if strings.Contains(created, "is older than") || version == "3.5.32" {
				if want := "etcd 3.5.32: is older than 3.5.33, 3.6.14 or 3.7.1: it can lose watch events and " +
					"leases, and its permissions can be bypassed"; !strings.Contains(created, want) {
					t.Errorf("got %q, want %q", created, want)
				}
				f.refuse(1, "fleet ls", "is not part of a fleet")
				return
			}
			f.joinAll(created)
			f.run(1, "network create -d overlay app")
			for n, name := range []string{"a1", "a2"} {
				f.await(n+1, "network ls -f driver=overlay --format {{.Name}}", "app")
				f.run(n+1, "run -d --name "+name+" --network app busybox sleep 1000")
			}
			f.pings(1, "a1", f.addresses(2, "a2", "app")[0], true)
			next := strings.Replace(e.program, "3.5.33", "3.6.14", 1)
			if _, err := os.Stat(next); err == nil {
				e.program = next // the operator upgrades the server meanwhile
			}
			f.etcdOutage(e)
			f.run(1, "rm -f a1")
			f.run(2, "rm -f a2 late later")
			f.run(1, "network rm app")
			f.run(2, "fleet leave")
			f.run(1, "fleet leave")
		})
	}
}

// command returns the command of the server.
func (e *etcdServer) command() *exec.Cmd {
	file := func(name string) string { return filepath.Join(e.dir, name) }
	if e.program == "" {
		return exec.Command(filepath.Join(e.fleet.bin, "fairlead-store"), "--name", "etcd", "--dir", file("data"),
			"--client-url", etcdClient, "--peer-url", etcdPeer, "--cluster", "etcd="+etcdPeer,
			"--ca", file("ca.pem"), "--cert", file("agent.pem"), "--key", file("agent-key.pem"),
			"--peer-ca", file("ca.pem"), "--peer-cert", file("agent.pem"), "--peer-key", file("agent-key.pem"))
	}
	return exec.Command(e.program, "--name", "etcd", "--data-dir", file("data"),
		"--listen-client-urls", etcdClient, "--advertise-client-urls", etcdClient,
		"--listen-peer-urls", etcdPeer, "--initial-advertise-peer-urls", etcdPeer,
		"--initial-cluster", "etcd="+etcdPeer, "--client-cert-auth",
		"--trusted-ca-file", file("ca.pem"), "--cert-file", file("agent.pem"),
		"--key-file", file("agent-key.pem"), "--peer-client-cert-auth", "--peer-trusted-ca-file", file("ca.pem"),
		"--peer-cert-file", file("agent.pem"), "--peer-key-file", file("agent-key.pem"))
}
