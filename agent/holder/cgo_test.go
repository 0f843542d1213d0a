//go:build cgo

package holder_test

// withC: in such a program not all privileges can be dropped; the agent is none.
const withC = true
