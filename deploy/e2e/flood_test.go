package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/nameload"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

const (
	floodRate  = 20_000 // queries a second
	floodCount = 3 * floodRate
	churnRate  = 100 // names a second
)

// floodQueries is the program `flood CONTAINER NAME ADDRESS CHANGING`. It sends 20,000 queries a
// second for a name from the network of a container. Meanwhile another container of the same
// network is renamed 100 times a second. CHANGING is "ID NETWORK NETWORK-ID ADDRESS" of that
// container. The program fails if a query got no response or the last name is not registered.
func floodQueries() {
	if err := flood(os.Args[2], os.Args[3], strings.Fields(os.Args[4])); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func flood(name, address string, changing []string) error {
	m, err := inside()
	if err != nil {
		return err
	}

	conn, err := m.Dial("udp", resolverAddress, time.Second)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stop, err := nameload.Churn(ctx, os.Getenv("EXEC")+"/dns.sock", changing[0],
		&dnsv1.NetworkRegistration{NetworkName: changing[1], NetworkId: changing[2], Addresses: changing[3:]},
		churnRate)
	if err != nil {
		return err
	}

	result, err := nameload.Flood{Name: name, Address: address, Count: floodCount, Rate: floodRate}.Run(conn)
	changes, churned := stop()
	if err := errors.Join(err, churned, conn.Close()); err != nil {
		return err
	}

	fmt.Printf("%s, %d names changed\n", result, changes)
	if got, err := askOnce(m, "udp", fmt.Sprint("name-", changes)); err != nil || got != changing[3] || changes == 0 {
		return fmt.Errorf("last name after %d changes: got %s, %v", changes, got, err)
	}

	if result.Lost > 0 {
		return errors.New("some queries got no response")
	}

	return nil
}
