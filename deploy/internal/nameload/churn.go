package nameload

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

// Churn renames a container at a rate per second through dnsagent's socket, until stop is called.
// stop returns the number of renames; the last name is "name-COUNT".
func Churn(ctx context.Context, socket, owner string, network *dnsv1.NetworkRegistration,
	rate int) (stop func() (int, error), err error) {
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}

	client := dnsv1.NewNameServiceClient(conn)
	end, ended := make(chan struct{}), make(chan error, 1)
	count := 0
	go func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()

		for {
			select {
			case <-end:
				ended <- nil
				return
			case <-tick.C:
				named := proto.Clone(network).(*dnsv1.NetworkRegistration)
				named.Names = append(named.Names, fmt.Sprint("name-", count+1))
				if _, err := client.Update(ctx,
					&dnsv1.UpdateRequest{Owner: owner, Addresses: network.GetAddresses(),
						Networks: []*dnsv1.NetworkRegistration{named}}); err != nil {
					ended <- err
					return
				}
				count++
			}
		}
	}()

	return func() (int, error) {
		close(end)
		err := <-ended
		_ = conn.Close()
		return count, err
	}, nil
}
