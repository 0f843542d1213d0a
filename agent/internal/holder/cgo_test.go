//go:build cgo

package holder_test

// withC is true in cgo programs, which cannot drop all privileges. The agent does not use cgo.
const withC = true
