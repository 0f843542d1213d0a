package containerflags

import (
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// RestartUsage is the usage of --restart.
const RestartUsage = "Restart policy: no, on-failure[:MAX], always or unless-stopped"

// ParseRestart parses --restart. The agent checks the name and its combination with the count.
func ParseRestart(spec string) (*containerv1.RestartPolicy, error) {
	if spec == "" {
		return nil, nil
	}

	name, count, counted := strings.Cut(spec, ":")
	if name == "" {
		return nil, fault.Invalidf("--restart "+spec, "restart",
			"invalid restart policy format: no policy provided before colon")
	}

	p := &containerv1.RestartPolicy{Name: name}
	if !counted || count == "" {
		return p, nil
	}

	n, err := strconv.Atoi(count)
	switch {
	case err != nil:
		return nil, fault.Invalidf("--restart "+spec, "restart",
			"invalid restart policy format: maximum retry count must be an integer")
	case n < 0:
		return nil, fault.Invalidf("--restart "+spec, "restart",
			"invalid restart policy: maximum retry count cannot be negative")
	}

	p.MaximumRetryCount = uint32(min(n, 1<<31-1))
	return p, nil
}
