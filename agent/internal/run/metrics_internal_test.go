package run

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestResidentMemoryIsThePresentOne(t *testing.T) {
	const size = 128 << 20
	debug.FreeOSMemory()
	before, ok := residentMemory()
	used := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		used[i] = 1
	}
	during, _ := residentMemory()
	runtime.KeepAlive(used)
	if !ok || during < before+size/2 {
		t.Errorf("got %v with %d bytes more than %v", during, size, before)
	}
	used = nil //nolint:ineffassign,wastedassign // released
	debug.FreeOSMemory()
	if after, _ := residentMemory(); after > before+size/2 {
		t.Errorf("got %v after memory was released, before %v", after, before)
	}
}
