package container

// Defaults are the agent's settings for options that a container does not set.
type Defaults struct {
	ShmSize     int64 // bytes of /dev/shm
	OOMScoreAdj int
	PidsLimit   int64 // processes and threads of one container; 0 means no limit
	Ulimits     []Ulimit
	NoSwapLimit bool // the kernel cannot limit swap
}

// StandardShmSize is Docker's size of /dev/shm.
const StandardShmSize = 64 << 20

// WithDefaults returns a copy with the defaults applied, so that later changes of the agent's
// settings do not change the container.
func (c Config) WithDefaults(d Defaults) Config {
	if d.ShmSize == 0 {
		d.ShmSize = StandardShmSize
	}
	c.Resources = c.Resources.WithDefaults(d)
	return c
}
