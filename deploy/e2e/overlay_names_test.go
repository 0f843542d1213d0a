package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// overlayNames resolves names of containers across hosts: a1 to a3 run on the network app.
func (f *fleet) overlayNames() {
	f.t.Helper()
	for n := 1; n <= 3; n++ {
		f.run(n, fmt.Sprintf("run -d --name s%d --network app --network-alias site busybox sleep 1000", n))
	}
	names := []string{"one", "two", "three"}
	for from := 1; from <= 3; from++ {
		own := f.addresses(from, fmt.Sprint("s", from), "app")[0]
		for to := 1; to <= 3; to++ {
			name, want := fmt.Sprint("a", to), f.addresses(to, fmt.Sprint("a", to), "app")[0]
			id := strings.TrimSpace(f.run(to, "inspect -f {{.ID}} "+name))[:12]
			for _, form := range []string{name, name + ".app", name + "." + names[to-1], id} {
				f.resolves(from, form, want)
			}
			f.awaitLookup(from, want, "", func(out string) bool { return strings.Contains(out, name+".app") })
			f.resolves(from, "site."+names[to-1], f.addresses(to, fmt.Sprint("s", to), "app")[0])
		}
		f.awaitLookup(from, "site.", "-type=a", func(out string) bool { // all hosts answer, this one first
			got := answers(out)
			return len(got) == 3 && got[0] == own
		})
	}
	f.namesAfterFaults()
}

// namesAfterFaults stops a container, kills an agent and cuts a host off.
func (f *fleet) namesAfterFaults() {
	f.t.Helper()
	lost := f.addresses(3, "s3", "app")[0]
	f.run(2, "rm -f s2")
	f.awaitLookup(1, "site.", "-type=a", func(out string) bool { return len(answers(out)) == 2 })
	if err := f.agents[0].Stop(syscall.SIGKILL); err != nil {
		f.t.Fatal(err)
	}
	if err := f.agents[0].Start(f.ctx); err != nil {
		f.t.Fatal(err)
	}
	f.awaitLookup(1, "site.", "-type=a", func(out string) bool { return len(answers(out)) == 2 })

	if err := f.lan.Cut(f.ctx, "port3"); err != nil {
		f.t.Fatal(err)
	}
	f.await(1, states, "one=alive\nthree=suspect\ntwo=alive")
	f.resolves(2, "a3", f.addresses(3, "a3", "app")[0]) // never none
	f.run(2, "run -d --name s2 --network app --network-alias site busybox sleep 1000")
	f.awaitLookup(2, "site.", "-type=a", func(out string) bool { // lost hosts last
		got := answers(out)
		return len(got) == 3 && got[2] == lost
	})
	if err := f.lan.Connect(f.ctx, "port3"); err != nil {
		f.t.Fatal(err)
	}
	f.await(1, states, "one=alive\nthree=alive\ntwo=alive")
}

// resolves waits until a name has exactly one address for container a of a host.
func (f *fleet) resolves(n int, name, want string) {
	f.t.Helper()
	f.awaitLookup(n, name+".", "-type=a", func(out string) bool { return slices.Equal(answers(out), []string{want}) })
}

// awaitLookup waits until a look-up by container a of a host has a result.
func (f *fleet) awaitLookup(n int, name, option string, holds func(string) bool) {
	f.t.Helper()
	args := []string{"exec", fmt.Sprint("a", n), "nslookup"}
	if option != "" {
		args = append(args, option)
	}
	out := ""
	for range 200 {
		out, _ = f.agents[n-1].CLI(f.ctx, append(args, name)...)
		if holds(out) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.t.Fatalf("host %d: look-up of %s: got %s", n, name, out)
}

// answers returns the addresses in the output of nslookup, without that of the server.
func answers(out string) (all []string) {
	_, out, _ = strings.Cut(out, "\n\n")
	for line := range strings.SplitSeq(out, "\n") {
		if a, ok := strings.CutPrefix(line, "Address: "); ok {
			all = append(all, strings.TrimSpace(a))
		}
	}
	return all
}
