package peer

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/proto/fault"
)

func TestAServiceThatIsNotThereIsNamedInTheEnd(t *testing.T) {
	host := config.Host{Network: "unix", Address: filepath.Join(t.TempDir(), "none")}
	conn, err := dial(host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	err = readyInterceptor{"natagent", host, 50 * time.Millisecond}.wait(t.Context(), conn)
	if want := "natagent: does not answer at " + host.String() + "; see whether it runs, and what its log says"; !fault.Is(err, fault.Unavailable) || err.Error() != want {
		t.Errorf("%v; want %s", err, want)
	}
}
