package config

import "slices"

// Change is a key whose configured values are not those in effect.
type Change struct {
	Key           string
	Before, After []string // empty: not set
	Reloadable    bool     // it can be applied to an agent that runs
}

// Reload is what an agent that runs with c can make of next: the live keys of next, and the others of c. The error tells what
// does not fit together then.
func (c *Config) Reload(next *Config) (*Config, []Change, error) {
	var changes []Change
	b := newBuilder()
	for _, k := range Keys() {
		old, new := c.given(k), next.given(k)
		same := slices.Equal(old.Texts, new.Texts)
		if !same {
			changes = append(changes, Change{k.Name, old.Texts, new.Texts, k.Reloadable})
		}
		kept := old
		if same || k.Reloadable {
			kept = new // of the same texts, the newer origins
		}
		if kept.Texts != nil {
			b.config.values[k.Name] = kept
		}
	}
	b.read()
	if err := b.finish(); err != nil {
		return nil, changes, err
	}
	return b.config, changes, nil
}

// given is a key's value unless it was computed from others.
func (c *Config) given(k Key) Value {
	v := c.values[k.Name]
	if k.Default == "" && len(v.Origins) == 1 && v.Origins[0].Rank == Default {
		return Value{Key: k.Name}
	}
	return v
}
