package network

import (
	"fmt"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// The options of gratuitous ARP and unsolicited NA: their number and interval. Defaults as in Docker.
const (
	OptAnnounceTimes = "com.docker.network.advertise_addr_nmsgs"
	OptAnnounceEvery = "com.docker.network.advertise_addr_ms"

	defaultAnnounceTimes = 3
	defaultAnnounceEvery = 1000 // ms
)

// Announcements returns the number of gratuitous ARP or unsolicited NA packets and their interval.
func (n Network) Announcements() (times int, every time.Duration) {
	return setOr(n.Spec.AnnounceTimes,
		defaultAnnounceTimes), time.Duration(setOr(n.Spec.AnnounceEvery, defaultAnnounceEvery)) * time.Millisecond
}

func setOr(set *int, otherwise int) int {
	if set == nil {
		return otherwise
	}
	return *set
}

// announceSetters returns the setters of the announcement options.
func announceSetters() map[string]func(*Network, string) error {
	return map[string]func(*Network, string) error{
		OptAnnounceTimes: within(OptAnnounceTimes, 0, 3, func(n *Network) **int { return &n.Spec.AnnounceTimes }),
		OptAnnounceEvery: within(OptAnnounceEvery, 100, 2000, func(n *Network) **int { return &n.Spec.AnnounceEvery }),
	}
}

// within returns a setter for an integer in a range.
func within(key string, low, high int, where func(*Network) **int) func(*Network, string) error {
	return func(n *Network, v string) error {
		number, err := strconv.Atoi(v)
		if err != nil || number < low || number > high {
			return fault.New(fault.Invalid, "option "+key+"="+v,
				fmt.Sprintf("%s must be in the range %d to %d", key, low, high), fault.WithField("options"))
		}
		*where(n) = &number
		return nil
	}
}
