package runtime

import "path/filepath"

// layout returns the paths of the files of containers.
type layout struct{ execRoot string }

func (l layout) containersDir() string          { return filepath.Join(l.execRoot, "containers") }
func (l layout) exitsDir() string               { return filepath.Join(l.execRoot, "exits") }
func (l layout) ociRoot() string                { return filepath.Join(l.execRoot, "oci") }
func (l layout) bundle(uid string) string       { return filepath.Join(l.containersDir(), uid) }
func (l layout) runtimeState(uid string) string { return filepath.Join(l.ociRoot(), uid) }
func (l layout) exitFile(uid string) string     { return filepath.Join(l.exitsDir(), uid) }
