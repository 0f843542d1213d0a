//go:build !cgo

package holder_test

const withC = false
