package quorum_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/fleetagent/internal/quorum"
)

func TestVotersAreOdd(t *testing.T) {
	for managers, want := range []int{0, 1, 1, 3, 3, 5, 5} {
		if got := quorum.Voters(managers); got != want {
			t.Errorf("%d managers: got %d voters, want %d", managers, got, want)
		}
	}
}

// parse reads "A+ b- C": hosts that are managers, with the state of their member. An upper case letter
// is a voter, a lower case one a learner, + the leader, - not started, ! a host that is not alive,
// ? not a manager, . not a member.
func parse(text string) (managers []quorum.Manager, members []quorum.Member) {
	for i, word := range strings.Fields(text) {
		letter := word[:1]
		host := strings.ToLower(letter)
		m := quorum.Manager{Host: host, PeerURL: "https://" + host, Alive: !strings.Contains(word, "!")}
		if !strings.Contains(word, "?") {
			managers = append(managers, m)
		}
		if !strings.Contains(word, ".") {
			members = append(members, quorum.Member{ID: uint64(i), PeerURL: m.PeerURL, Learner: letter == host,
				Started: !strings.Contains(word, "-"), Leader: strings.Contains(word, "+")})
		}
	}
	return managers, members
}

func describe(steps []quorum.Step) string {
	names := map[quorum.Kind]string{quorum.Add: "add", quorum.Start: "start", quorum.Promote: "promote",
		quorum.Remove: "remove"}
	var all []string
	for _, s := range steps {
		url := s.Manager.PeerURL
		if url == "" {
			url = s.Member.PeerURL
		}
		all = append(all, names[s.Kind]+" "+strings.TrimPrefix(url, "https://"))
	}
	return strings.Join(all, ", ")
}

func TestNextStep(t *testing.T) {
	for state, want := range map[string]string{
		"A+":             "",
		"A+ b.":          "add b",
		"A+ b.!":         "", // it is added when it can be started
		"A+ b-":          "start b",
		"A+ b":           "", // the second manager follows
		"A+ b c.":        "promote b, add c",
		"A+ b c-":        "promote b, start c",
		"A+ B c":         "promote c",
		"A+ B C":         "",
		"A+ B C d":       "",
		"A+ B C d e":     "promote d, promote e",
		"A+ B C?":        "remove c",
		"A+ B":           "remove b",
		"A B+":           "remove a",
		"A+? b":          "promote b", // the only voter was demoted
		"A+? B":          "remove a",
		"A+ B C!":        "", // a lost manager stays a voter
		"A+ B! C! D":     "remove c",
		"A+ B C?!":       "remove c",
		"A+ b! c":        "promote c",
		"A+? b- c.":      "start b, add c",
		"A+ B C? d? e":   "promote e, remove c, remove d",
		"A+ B C D. E. F": "add d, add e",
	} {
		managers, members := parse(state)
		if got := describe(quorum.Next(managers, members)); got != want {
			t.Errorf("%s: got %q, want %q", state, got, want)
		}
	}
}

// TestStepsConverge applies steps from random states, in which a voter is the leader.
func TestStepsConverge(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		var managers []quorum.Manager
		var members []quorum.Member
		for i := range 1 + r.IntN(6) {
			url := fmt.Sprint("https://", i)
			if r.IntN(3) > 0 {
				managers = append(managers, quorum.Manager{Host: fmt.Sprint(i), PeerURL: url, Alive: true})
			}
			if r.IntN(3) > 0 || len(members) == 0 {
				members = append(members, quorum.Member{ID: uint64(i), PeerURL: url, Learner: r.IntN(2) == 0,
					Started: true})
			}
		}
		if len(managers) == 0 {
			continue
		}
		members[0].Learner, members[0].Leader = false, true
		apply(t, r, managers, members)
	}
}

func apply(t *testing.T, r *rand.Rand, managers []quorum.Manager, members []quorum.Member) {
	t.Helper()
	for range 40 {
		steps := quorum.Next(managers, members)
		if len(steps) == 0 {
			break
		}
		s := steps[r.IntN(len(steps))]
		i := slices.IndexFunc(members, func(m quorum.Member) bool { return m.PeerURL == s.Member.PeerURL })
		switch s.Kind {
		case quorum.Add:
			members = append(members, quorum.Member{PeerURL: s.Manager.PeerURL, Learner: true})
		case quorum.Start:
			members[i].Started = true
		case quorum.Promote:
			members[i].Learner = false
		case quorum.Remove:
			members = slices.Delete(members, i, i+1)
		}
		voter := slices.IndexFunc(members, func(m quorum.Member) bool { return !m.Learner })
		if voter < 0 {
			t.Fatalf("no voter is left: managers %v, step %v", managers, s)
		}
		if !slices.ContainsFunc(members, func(m quorum.Member) bool { return m.Leader }) {
			members[voter].Leader = true
		}
	}

	voters := 0
	for _, m := range members {
		if !m.Learner {
			voters++
		}
	}
	if voters != quorum.Voters(len(managers)) || len(members) != len(managers) {
		t.Fatalf("got %d voters of %d members for %d managers", voters, len(members), len(managers))
	}
}
