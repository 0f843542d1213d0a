package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// family is the set of address families of the networks of a script. The scripts of
// testdata/families run for each.
type family map[string]bool

func families() map[string]family {
	return map[string]family{"v4": {"v4": true}, "v6": {"v6": true}, "dual": {"v4": true, "v6": true}}
}

// condition adds the conditions v4 and v6. Both are true for dual-stack networks.
func (f family) condition(name string) (bool, error) {
	if name == "v4" || name == "v6" {
		return f[name], nil
	}
	return condition(name)
}

// at returns the addresses of host, of lo, or of N.M: address M in family-network N.
func (f family) at(where string) (addresses []string) {
	v4 := map[string]string{"host": lab.HostIPv4, "lo": "127.0.0.1"}[where]
	v6 := map[string]string{"host": "[" + lab.HostIPv6 + "]", "lo": "[::1]"}[where]
	if n, number, ok := strings.Cut(where, "."); ok {
		v4, v6 = "10.88."+n+"."+number, "[fd00:88:"+n+"::"+number+"]"
	}

	if f["v4"] {
		addresses = append(addresses, v4)
	}

	if f["v6"] {
		addresses = append(addresses, v6)
	}

	return addresses
}

// network is the command family-network NAME N [FLAGS…]. It creates a network with the subnets
// 10.88.N.0/24 and fd00:88:N::/64, depending on the family.
func (f family) network(ts *testscript.TestScript, neg bool, args []string) {
	create := []string{"network", "create"}
	if f["v4"] {
		create = append(create, "--subnet", "10.88."+args[1]+".0/24")
	} else {
		create = append(create, "--ipv4=false")
	}
	if f["v6"] {
		create = append(create, "--ipv6", "--subnet", "fd00:88:"+args[1]+"::/64")
	}
	checkNegated(ts, neg, ts.Exec("fairlead", slices.Concat(create, args[2:], args[:1])...))
}

// fetch is the command fetch FROM WHERE:PORT. FROM is client, host or a container. It fetches the
// page of nginx from all addresses of WHERE within a time limit. With ! no address must respond.
func (f family) fetch(ts *testscript.TestScript, neg bool, args []string) {
	where, port, _ := strings.Cut(args[1], ":")
	addresses := f.at(where)
	if len(addresses) == 0 {
		ts.Fatalf("fetch works only in testdata/families")
	}

	for _, address := range addresses {
		url := "http://" + address + ":" + port + "/"
		for deadline := time.Now().Add(waitLimit); ; time.Sleep(50 * time.Millisecond) {
			err := fetchOnce(ts, args[0], url)
			if neg {
				if err == nil {
					ts.Fatalf("%s can fetch %s", args[0], url)
				}
				break
			}
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				ts.Fatalf("%s cannot fetch %s: %v", args[0], url, err)
			}
		}
	}
}

func fetchOnce(ts *testscript.TestScript, who, url string) error {
	curl := []string{"curl", "-s", "-g", "-f", "--max-time", "1", url}
	program := who
	if who != "client" && who != "host" {
		program, curl = "inside", append([]string{who}, curl...)
	}

	if err := ts.Exec(program, curl...); err != nil {
		return err
	}

	if page := ts.ReadFile("stdout"); !strings.Contains(page, "Welcome to nginx") {
		return fmt.Errorf("got page %q", page)
	}

	return nil
}
