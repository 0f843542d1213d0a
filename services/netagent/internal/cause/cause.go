// Package cause remembers which program caused a repair that is pending, for its log message. The
// keys of a controller have no content, so the program is noted here. Packages attach,
// bringup and damage use it.
package cause

import "sync"

// Programs holds the programs by key. The zero value is empty. It is safe for concurrent use.
type Programs[K comparable] struct{ all sync.Map }

// Note records the program that caused the need to repair the object of a key. Without a name, it
// does nothing.
func (p *Programs[K]) Note(program string, key K) {
	if program != "" {
		p.all.Store(key, program)
	}
}

// Take returns the recorded program of a key and forgets it. It is empty if none is known.
func (p *Programs[K]) Take(key K) string {
	program, _ := p.all.LoadAndDelete(key)
	name, _ := program.(string)
	return name
}

// OrUnknown returns the name of a program for a log message.
func OrUnknown(program string) string {
	if program == "" {
		return "unknown"
	}
	return program
}
