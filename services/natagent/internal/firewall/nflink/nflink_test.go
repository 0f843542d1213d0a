package nflink_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

func open(t *testing.T) (*nflink.Link, *testns.NS) {
	t.Helper()
	n := testns.New(t)
	l, err := nflink.Open(hostns.At(n.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, n
}

// crowd creates a set of ports with the given number of elements.
func crowd(l *nflink.Link, name string, count int) (*nftables.Set, error) {
	table := l.AddTable(&nftables.Table{Name: name, Family: nftables.TableFamilyINet})
	set := &nftables.Set{Table: table, Name: "ports", KeyType: nftables.TypeInetService}
	if err := l.AddSet(set, nil); err != nil {
		return nil, err
	}
	for port := range count {
		if err := l.SetAddElements(set, []nftables.SetElement{{Key: []byte{byte(port >> 8), byte(port)}}}); err != nil {
			return nil, err
		}
	}
	return set, l.Flush()
}

func TestDescriptorsAbove1023(t *testing.T) {
	var used []int
	defer func() {
		for _, fd := range used {
			_ = unix.Close(fd)
		}
	}()

	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Skipf("this machine gives a process too few descriptors: %v", err)
		}
		if used = append(used, fd); fd > 1100 {
			break
		}
	}

	l, _ := open(t)
	if _, err := crowd(l, "high", 3); err != nil {
		t.Fatal(err)
	}
	if _, err := l.GetGen(); err != nil {
		t.Error(err)
	}
}

func TestLargeTransactionsAndLists(t *testing.T) {
	const count = 20_000
	l, _ := open(t)
	set, err := crowd(l, "large", count)
	if err != nil {
		t.Fatal(err)
	}
	elements, err := l.GetSetElements(set)
	if err != nil || len(elements) != count {
		t.Errorf("%d elements, %v", len(elements), err)
	}
}

func TestErrorsAreKernelErrors(t *testing.T) {
	l, _ := open(t)
	l.DelTable(&nftables.Table{Name: "none", Family: nftables.TableFamilyINet})
	if err := l.Flush(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("delete a missing table: %v", err)
	}
	if _, err := l.ListTableOfFamily("none", nftables.TableFamilyINet); !errors.Is(err, unix.ENOENT) {
		t.Errorf("list a missing table: %v", err)
	}
	if all, err := l.ListTables(); err != nil || len(all) != 0 {
		t.Errorf("tables %v, %v", all, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.GetGen(); err == nil {
		t.Error("a closed link returned no error")
	}
}

func TestConcurrentRequests(t *testing.T) {
	l, _ := open(t)
	set, err := crowd(l, "shared", 500)
	if err != nil {
		t.Fatal(err)
	}

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				elements, err := l.GetSetElements(set)
				if _, gerr := l.GetGen(); err != nil || gerr != nil || len(elements) != 500 {
					t.Error(fmt.Errorf("%d elements, %w", len(elements), errors.Join(err, gerr)))
				}
			}
		})
	}

	wg.Wait()
}
