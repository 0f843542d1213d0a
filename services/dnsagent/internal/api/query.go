package api

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/querylog"
)

// Queries keeps the questions of containers.
type Queries interface {
	Since(owner string, t time.Time) (found []querylog.Query, more <-chan struct{})
	Names() map[string]map[netip.Addr]string
}

// Cache keeps responses of upstreams.
type Cache interface{ FlushCache() }

// queryServer implements fairlead.dns.v1.QueryService.
type queryServer struct {
	dnsv1.UnimplementedQueryServiceServer
	queries Queries
	cache   Cache
}

// WatchQueries implements QueryServiceServer.
func (s *queryServer) WatchQueries(req *dnsv1.WatchQueriesRequest,
	stream grpc.ServerStreamingServer[dnsv1.WatchQueriesResponse]) error {
	var since time.Time
	if req.GetSince() != nil {
		since = req.GetSince().AsTime()
	}

	for {
		found, more := s.queries.Since(req.GetOwner(), since)
		resp := &dnsv1.WatchQueriesResponse{}
		for _, q := range found {
			since = q.Time
			resp.Queries = append(resp.Queries, queryToProto(q))
		}
		if len(found) > 0 {
			if err := stream.Send(resp); err != nil {
				return err
			}
		}
		if !req.GetFollow() {
			return nil
		}

		select {
		case <-more:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// ListResolvedNames implements QueryServiceServer.
func (s *queryServer) ListResolvedNames(context.Context,
	*dnsv1.ListResolvedNamesRequest) (*dnsv1.ListResolvedNamesResponse, error) {
	resp := &dnsv1.ListResolvedNamesResponse{}
	for owner, known := range s.queries.Names() {
		for a, name := range known {
			resp.Names = append(resp.Names, &dnsv1.ResolvedName{Owner: owner, Address: a.String(), Name: name})
		}
	}
	return resp, nil
}

// FlushCache implements QueryServiceServer.
func (s *queryServer) FlushCache(context.Context, *dnsv1.FlushCacheRequest) (*dnsv1.FlushCacheResponse, error) {
	s.cache.FlushCache()
	return &dnsv1.FlushCacheResponse{}, nil
}

func queryToProto(q querylog.Query) *dnsv1.Query {
	p := &dnsv1.Query{Time: timestamppb.New(q.Time), Owner: q.Owner, Name: q.Name, Type: q.Type, Code: q.Code,
		Source: q.Source, Server: q.Server, Took: durationpb.New(q.Took)}
	for _, a := range q.Addresses {
		p.Addresses = append(p.Addresses, a.String())
	}
	return p
}
