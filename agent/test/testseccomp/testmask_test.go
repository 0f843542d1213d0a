package testseccomp_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testseccomp"
)

// socket opens and closes a netlink socket.
func socket(protocol int) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

func TestWithoutNetfilterRejectsOnlyNetfilter(t *testing.T) {
	const outside = "FAIRLEAD_TEST_OUTSIDE"
	if os.Getenv(outside) == "" {
		t.Setenv(outside, "1")
		if err := socket(unix.NETLINK_NETFILTER); err != nil {
			t.Skip("this kernel has no netfilter: ", err)
		}
	}
	if !testseccomp.WithoutNetfilter(t) {
		if err := socket(unix.NETLINK_NETFILTER); err != nil {
			t.Errorf("calling process: got error %v", err)
		}
		return
	}
	if err := socket(unix.NETLINK_NETFILTER); !errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Errorf("netfilter: got error %v, want EPROTONOSUPPORT", err)
	}
	if err := socket(unix.NETLINK_ROUTE); err != nil {
		t.Errorf("routes: got error %v", err)
	}
	if _, err := exec.LookPath("nft"); err == nil {
		if out, err := exec.Command("unshare", "--net", "nft", "list", "tables").CombinedOutput(); err == nil {
			t.Errorf("got success of nft, want an error: %s", out)
		}
	}

	done := make(chan error)
	go func() { done <- socket(unix.NETLINK_NETFILTER) }() // runs on any thread
	if err := <-done; !errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Errorf("netfilter on another thread: got error %v, want EPROTONOSUPPORT", err)
	}
}
