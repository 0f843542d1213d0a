package store

import "github.com/fairlead/fairlead/agent/state"

// sysctls holds the changed sysctls by path.
var sysctls = state.NewTable("sysctls", func(s *Sysctl) string { return s.Path })

// Sysctl is a host sysctl that netagent has changed, with its original value for restoring.
type Sysctl struct {
	Path     string // below /proc/sys
	Original string
	Current  string
}

// Sysctls returns all changed sysctls.
func (s *Store) Sysctls() []Sysctl {
	var out []Sysctl
	for c := range sysctls.All(s.db.View()) {
		out = append(out, *c)
	}
	return out
}

// ForgetSysctls deletes the records of the given paths.
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

// RecordSysctls stores changes before they are made. Existing records keep their original value.
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
