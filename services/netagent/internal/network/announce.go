package network

import (
	"fmt"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// How often neighbours are told of an endpoint's addresses, and the time between; the defaults are Docker's.
const (
	OptAnnounceTimes = "com.docker.network.advertise_addr_nmsgs"
	OptAnnounceEvery = "com.docker.network.advertise_addr_ms"

	defaultAnnounceTimes = 3
	defaultAnnounceEvery = 1000 // ms
)

// Announcements are how often neighbours are told of an endpoint's addresses, and the time between.
func (n Network) Announcements() (times int, every time.Duration) {
	return setOr(n.AnnounceTimes, defaultAnnounceTimes), time.Duration(setOr(n.AnnounceEvery, defaultAnnounceEvery)) * time.Millisecond
}

func setOr(set *int, otherwise int) int {
	if set == nil {
		return otherwise
	}
	return *set
}

// announceSetters read the options of announcements.
func announceSetters() map[string]func(*Network, string) error {
	return map[string]func(*Network, string) error{
		OptAnnounceTimes: within(OptAnnounceTimes, 0, 3, func(n *Network) **int { return &n.AnnounceTimes }),
		OptAnnounceEvery: within(OptAnnounceEvery, 100, 2000, func(n *Network) **int { return &n.AnnounceEvery }),
	}
}

// within reads a number of a range.
func within(key string, least, most int, where func(*Network) **int) func(*Network, string) error {
	return func(n *Network, v string) error {
		number, err := strconv.Atoi(v)
		if err != nil || number < least || number > most {
			return fault.New(fault.Invalid, "option "+key+"="+v, fmt.Sprintf("%s must be in the range %d to %d", key, least, most), fault.WithField("options"))
		}
		*where(n) = &number
		return nil
	}
}
