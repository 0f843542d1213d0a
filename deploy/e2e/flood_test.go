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
	floodRate  = 20_000 // questions a second
	floodCount = 3 * floodRate
	churnRate  = 100 // names a second
)

// floodQuestions is the program `flood CONTAINER NAME ADDRESS CHANGING`: 20,000 questions a second for a name from a container's
// network, while another container of the same one network, CHANGING "ID NETWORK NETWORK-ID ADDRESS", gets another name 100 times a
// second. It fails if one was not answered, or the last of the names is not registered.
func floodQuestions() {
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
		&dnsv1.NetworkRegistration{NetworkName: changing[1], NetworkId: changing[2], Addresses: changing[3:]}, churnRate)
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
		return fmt.Errorf("after %d changes the last name is answered %s, %v", changes, got, err)
	}
	if result.Lost > 0 {
		return errors.New("not all were answered")
	}
	return nil
}
