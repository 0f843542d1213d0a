package files

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

func TestIdleClientLosesItsCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		start := time.Now()
		for name, call := range map[string]func() (int, error){
			"read":  func() (int, error) { return idleLimit{r: r, limit: time.Minute}.Read(make([]byte, 9)) },
			"write": func() (int, error) { return idleLimit{w: w, limit: time.Minute}.Write([]byte("x")) },
		} {
			if name == "write" {
				_, w = io.Pipe() // without a reader
			}
			if n, err := call(); n != 0 || fault.KindOf(err) != fault.Unavailable {
				t.Errorf("%s: got %d, error %v", name, n, err)
			}
		}
		if took := time.Since(start); took != 2*time.Minute {
			t.Errorf("got errors after %s", took)
		}
		_ = r.Close()
		_ = w.Close()
	})
}

func TestIdleLimitPassesData(t *testing.T) {
	var out bytes.Buffer
	text := strings.Repeat("0123456789", 10000)
	n, err := io.Copy(idleLimit{w: &out, limit: time.Minute}, idleLimit{r: strings.NewReader(text), limit: time.Minute})
	if err != nil || int(n) != len(text) || out.String() != text {
		t.Errorf("got %d bytes, error %v", n, err)
	}
}
