package store

import "github.com/fairlead/fairlead/agent/state"

// sysctls: path -> Sysctl
var sysctls = state.NewTable("sysctls", func(s *Sysctl) string { return s.Path })

// Sysctl is one of the host's own parameters that netagent has changed, so that it can be told and put back.
type Sysctl struct {
	Path     string // under /proc/sys
	Original string
	Current  string
}

// Sysctls answers all parameters that were changed.
func (s *Store) Sysctls() []Sysctl {
	var out []Sysctl
	for c := range sysctls.All(s.db.View()) {
		out = append(out, *c)
	}
	return out
}

// ForgetSysctls forgets some of them.
func (s *Store) ForgetSysctls(paths []string) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, path := range paths {
			if _, err := sysctls.Delete(tx, path); err != nil {
				return err
			}
		}
		return nil
	})
}

// RecordSysctls remembers changes that are about to be made. What is noted already keeps its first value.
func (s *Store) RecordSysctls(all ...Sysctl) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, c := range all {
			if _, ok := sysctls.Get(tx, c.Path); ok {
				continue
			}
			if err := sysctls.Put(tx, &c); err != nil {
				return err
			}
		}
		return nil
	})
}
