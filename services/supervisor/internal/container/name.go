package container

import (
	"fmt"
	"math/rand/v2"
	"regexp"

	"github.com/fairlead/fairlead/proto/fault"
)

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// maxName is the longest container name in bytes, the limit of a name in DNS.
const maxName = 253

// ValidateName checks a container name that a user chose. The error text is Docker's, which has no limit
// on the length.
func ValidateName(name string) error {
	if len(name) > maxName {
		short := name[:40] + "…"
		return fault.Invalidf(Subject(short), "name", "Invalid container name (%s), it has %d bytes, more than %d",
			short,
			len(name), maxName)
	}
	if !namePattern.MatchString(name) {
		return fault.Invalidf(Subject(name), "name",
			"Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, and at least two of them", name)
	}
	return nil
}

// GenerateName returns a random name like calm_bollard for which taken returns false.
func GenerateName(taken func(string) bool) string {
	for try := 0; ; try++ {
		name := manners[rand.IntN(len(manners))] + "_" + things[rand.IntN(len(things))]
		if try > 2 {
			name += fmt.Sprint(rand.IntN(1 << min(4+try, 30)))
		}
		if !taken(name) {
			return name
		}
	}
}

var manners = [...]string{
	"able", "ample", "bold", "brave", "bright", "brisk", "calm", "clear", "cool", "deft", "eager", "early", "even",
	"fair", "fast",
	"fine", "firm", "fleet", "fond", "free", "fresh", "glad", "good", "grand", "great", "hale", "handy", "happy",
	"hardy", "keen",
	"kind", "lively", "lucky", "mellow", "merry", "mild", "neat", "nimble", "noble", "plain", "proud", "quick", "quiet",
	"ready",
	"sharp", "smart", "smooth", "snug", "sound", "spry", "staunch", "steady", "stout", "strong", "sturdy", "sunny",
	"swift", "taut",
	"tidy", "true", "trusty", "warm", "wise", "zesty",
}

var things = [...]string{
	"anchor", "ballast", "barge", "beacon", "bilge", "binnacle", "block", "boom", "bollard", "bow", "bowline", "buoy",
	"cable",
	"capstan", "chart", "cleat", "compass", "cutter", "davit", "deck", "dinghy", "dock", "ferry", "fender", "galley",
	"gunwale",
	"halyard", "harbour", "hatch", "hawser", "helm", "hull", "jetty", "keel", "ketch", "lantern", "lighter", "lugger",
	"mast",
	"mooring", "oar", "pennant", "pier", "pilot", "port", "quay", "rigging", "rudder", "sail", "schooner", "sextant",
	"sheet",
	"shroud", "skiff", "sloop", "spar", "stern", "thwart", "tiller", "towline", "trawler", "tug", "wharf", "winch",
	"yawl",
}

// NameTaken returns the fault for a name that is reserved by a launch.
func NameTaken(name string) error {
	return fault.New(fault.Exists, Subject(name),
		"Conflict. The container name \"/"+name+"\" is already in use by a container that is being created",
		fault.WithReason(fault.ReasonNameInUse), fault.WithField("name"))
}
