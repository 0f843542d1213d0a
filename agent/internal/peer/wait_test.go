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
	if want := "natagent: is not responding at " + host.String() +
		"; check whether it is running, and its log"; !fault.Is(err, fault.Unavailable) || err.Error() != want {
		t.Errorf("%v; want %s", err, want)
	}
}
