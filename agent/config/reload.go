package config

import "slices"

// Change is a key whose configured values differ from those in effect.
type Change struct {
	Key           string
	Before, After []string // empty: not set
	Reloadable    bool     // applied by a reload
}

// Reload returns the configuration that an agent running with c can apply: the reloadable keys of
// next, and the other keys of c. It also returns all changes. The error reports conflicts between
// the two.
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
			kept = new // same texts, current origins
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

// given returns the value of a key unless it was derived from other keys.
func (c *Config) given(k Key) Value {
	v := c.values[k.Name]
	if k.Default == "" && len(v.Origins) == 1 && v.Origins[0].Rank == Default {
		return Value{Key: k.Name}
	}
	return v
}
