package api

import (
	"context"

	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/services/dnsagent/internal/records"
)

// Records holds the records of administrators.
type Records interface {
	Add(all []dnsrecord.Record) error
	Remove(s records.Selector) ([]dnsrecord.Record, error)
	List(network string) []records.Listed
	AddForward(f dnsrecord.Forward) (dnsrecord.Forward, error)
	RemoveForward(network, domain string, servers []dnsrecord.Server) error
	ListForwards(network string) []records.ListedForward
}

// maxAdded bounds the records of one request.
const maxAdded = 1000

// maxPage bounds the items of one page of a list.
const maxPage = 1000

// recordServer implements fairlead.dns.v1.RecordService.
type recordServer struct {
	dnsv1.UnimplementedRecordServiceServer
	records Records
}

// AddRecords implements RecordServiceServer.
func (s *recordServer) AddRecords(_ context.Context, req *dnsv1.AddRecordsRequest) (*dnsv1.AddRecordsResponse, error) {
	if n := len(req.GetRecords()); n == 0 || n > maxAdded {
		return nil, fault.Invalidf("records", "records", "%d are given, at least 1 and at most %d are possible", n,
			maxAdded)
	}
	var all []dnsrecord.Record
	for _, p := range req.GetRecords() {
		r, err := recordFromProto(p)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if err := s.records.Add(all); err != nil {
		return nil, err
	}
	return &dnsv1.AddRecordsResponse{Records: recordsToProto(all)}, nil
}

// RemoveRecords implements RecordServiceServer.
func (s *recordServer) RemoveRecords(_ context.Context,
	req *dnsv1.RemoveRecordsRequest) (*dnsv1.RemoveRecordsResponse, error) {
	selector, err := selectorFromProto(req)
	if err != nil {
		return nil, err
	}
	removed, err := s.records.Remove(selector)
	if err != nil {
		return nil, err
	}
	return &dnsv1.RemoveRecordsResponse{Records: recordsToProto(removed)}, nil
}

// ListRecords implements RecordServiceServer.
func (s *recordServer) ListRecords(_ context.Context,
	req *dnsv1.ListRecordsRequest) (*dnsv1.ListRecordsResponse, error) {
	list, next := page(s.records.List(req.GetNetwork()), req.GetPageToken(), records.Listed.Key)
	resp := &dnsv1.ListRecordsResponse{NextPageToken: next}
	for _, r := range list {
		p := recordToProto(r.Record)
		p.Configured = r.Configured
		resp.Records = append(resp.Records, p)
	}
	return resp, nil
}

// page returns the items of a sorted list after a token, which is the key of an item, and the token of
// the next page.
func page[T any](all []T, token string, key func(T) string) (out []T, next string) {
	for token != "" && len(all) > 0 && key(all[0]) <= token {
		all = all[1:]
	}
	if len(all) <= maxPage {
		return all, ""
	}
	return all[:maxPage], key(all[maxPage-1])
}

// forwardServer implements fairlead.dns.v1.ForwardService.
type forwardServer struct {
	dnsv1.UnimplementedForwardServiceServer
	records Records
}

// AddForward implements ForwardServiceServer.
func (s *forwardServer) AddForward(_ context.Context, req *dnsv1.AddForwardRequest) (*dnsv1.AddForwardResponse, error) {
	f, err := forwardFromProto(req.GetForward())
	if err != nil {
		return nil, err
	}
	if f, err = s.records.AddForward(f); err != nil {
		return nil, err
	}
	return &dnsv1.AddForwardResponse{Forward: forwardToProto(f)}, nil
}

// RemoveForward implements ForwardServiceServer.
func (s *forwardServer) RemoveForward(_ context.Context,
	req *dnsv1.RemoveForwardRequest) (*dnsv1.RemoveForwardResponse, error) {
	domain, err := dnsrecord.ParseDomain(req.GetDomain())
	if err != nil {
		return nil, invalidForward("domain", err)
	}
	var servers []dnsrecord.Server
	for _, text := range req.GetServers() {
		server, err := dnsrecord.ParseServer(text)
		if err != nil {
			return nil, invalidForward("servers", err)
		}
		servers = append(servers, server)
	}
	return &dnsv1.RemoveForwardResponse{}, s.records.RemoveForward(req.GetNetwork(), domain, servers)
}

// ListForwards implements ForwardServiceServer.
func (s *forwardServer) ListForwards(_ context.Context,
	req *dnsv1.ListForwardsRequest) (*dnsv1.ListForwardsResponse, error) {
	list, next := page(s.records.ListForwards(req.GetNetwork()), req.GetPageToken(), records.ListedForward.Key)
	resp := &dnsv1.ListForwardsResponse{NextPageToken: next}
	for _, f := range list {
		p := forwardToProto(f.Forward)
		p.Configured = f.Configured
		resp.Forwards = append(resp.Forwards, p)
	}
	return resp, nil
}
