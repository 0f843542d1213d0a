package testseccomp_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testseccomp"
)

// socket tries to open one of netlink's.
func socket(protocol int) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

func TestOnlyNetfilterIsMaskedAndOnlyThere(t *testing.T) {
	const outside = "FAIRLEAD_TEST_OUTSIDE"
	if os.Getenv(outside) == "" {
		t.Setenv(outside, "1")
		if err := socket(unix.NETLINK_NETFILTER); err != nil {
			t.Skip("this kernel has no netfilter to mask: ", err)
		}
	}
	if !testseccomp.WithoutNetfilter(t) {
		if err := socket(unix.NETLINK_NETFILTER); err != nil {
			t.Errorf("outside: %v", err)
		}
		return
	}
	if err := socket(unix.NETLINK_NETFILTER); !errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Errorf("netfilter: %v", err)
	}
	if err := socket(unix.NETLINK_ROUTE); err != nil {
		t.Errorf("routes: %v", err)
	}
	if _, err := exec.LookPath("nft"); err == nil {
		if out, err := exec.Command("unshare", "--net", "nft", "list", "tables").CombinedOutput(); err == nil {
			t.Errorf("nft works: %s", out)
		}
	}
	done := make(chan error)
	go func() { done <- socket(unix.NETLINK_NETFILTER) }() // on any thread
	if err := <-done; !errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Errorf("netfilter on another thread: %v", err)
	}
}
