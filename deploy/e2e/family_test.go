package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// family is which kinds of addresses the networks of a story have. Stories of testdata/families are told for each.
type family map[string]bool

func families() map[string]family {
	return map[string]family{"v4": {"v4": true}, "v6": {"v6": true}, "dual": {"v4": true, "v6": true}}
}

// condition has [v4] and [v6] be true where networks have such addresses, both on those that have both.
func (f family) condition(name string) (bool, error) {
	if name == "v4" || name == "v6" {
		return f[name], nil
	}
	return condition(name)
}

// at are an address of each kind: host, lo, or N.M for the one with the number M on the family-network N.
func (f family) at(where string) (addresses []string) {
	v4, v6 := map[string]string{"host": lab.HostIPv4, "lo": "127.0.0.1"}[where], map[string]string{"host": "[" + lab.HostIPv6 + "]", "lo": "[::1]"}[where]
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

// network is the word family-network NAME N [FLAGS…]: it makes a network of the story's kind, 10.88.N.0/24 and fd00:88:N::/64.
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

// fetch is the word fetch WHO WHERE:PORT: within some time, client, host or a container gets nginx's page there at addresses of each of
// the story's kinds; with ! before it, at none, within one second.
func (f family) fetch(ts *testscript.TestScript, neg bool, args []string) {
	where, port, _ := strings.Cut(args[1], ":")
	addresses := f.at(where)
	if len(addresses) == 0 {
		ts.Fatalf("fetch is for stories of families")
	}
	for _, address := range addresses {
		url := "http://" + address + ":" + port + "/"
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			err := fetchOnce(ts, args[0], url)
			if neg {
				if err == nil {
					ts.Fatalf("%s gets %s", args[0], url)
				}
				break
			}
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				ts.Fatalf("%s does not get %s: %v", args[0], url, err)
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
		return fmt.Errorf("it is %q", page)
	}
	return nil
}
