// Package faultrpc transports faults over gRPC: as a status with a fairlead.fault.v1.Fault detail
// from the server, and as a *fault.Fault in the client. No other package converts between the two.
package faultrpc

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/proto/fault"
	faultv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fault/v1"
)

var codeOf = map[fault.Kind]codes.Code{
	fault.Invalid:     codes.InvalidArgument,
	fault.NotFound:    codes.NotFound,
	fault.Exists:      codes.AlreadyExists,
	fault.Busy:        codes.FailedPrecondition,
	fault.Denied:      codes.PermissionDenied,
	fault.Unavailable: codes.Unavailable,
	fault.Conflict:    codes.Aborted,
	fault.Exhausted:   codes.ResourceExhausted,
	fault.Internal:    codes.Internal,
}

// ToStatus converts an error to a gRPC status. The first of several joined faults determines the
// code. Errors that are neither faults nor statuses become INTERNAL.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	faults := outermostFaults(err)
	if len(faults) == 0 {
		if errors.Is(err, context.Canceled) {
			return status.FromContextError(context.Canceled).Err()
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return status.FromContextError(context.DeadlineExceeded).Err()
		}
		if s, ok := status.FromError(err); ok {
			return s.Err()
		}
		return status.Error(codes.Internal, err.Error())
	}
	s := status.New(codeOf[faults[0].Kind], err.Error())
	for _, f := range faults {
		if detailed, err := s.WithDetails(toProto(f)); err == nil {
			s = detailed
		}
	}
	return s.Err()
}

// outermostFaults returns the outermost faults of an error, including those of joined errors.
func outermostFaults(err error) []*fault.Fault {
	if f, ok := err.(*fault.Fault); ok {
		return []*fault.Fault{f}
	}
	var all []*fault.Fault
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, outermostFaults(inner)...)
		}
	case interface{ Unwrap() error }:
		return outermostFaults(e.Unwrap())
	}
	return all
}

func toProto(f *fault.Fault) *faultv1.Fault {
	return &faultv1.Fault{Kind: faultv1.Kind(f.Kind), Subject: f.Subject, Field: f.Field, Message: messageOf(f),
		Hint: f.Hint, Reason: fault.ReasonOf(f), Step: f.Step}
}

// messageOf returns the message of a fault with its cause, because the cause is not sent.
func messageOf(f *fault.Fault) string {
	if f.Cause == nil {
		return f.Message
	}
	return f.Message + ": " + f.Cause.Error()
}

// FromStatus converts a gRPC error to a fault, or to joined faults. A status without a Fault detail
// is converted by its code.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	if s.Code() == codes.Canceled {
		return context.Canceled
	}
	var faults []error
	for _, d := range s.Details() {
		if f, ok := d.(*faultv1.Fault); ok {
			faults = append(faults, &fault.Fault{Kind: fault.Kind(f.GetKind()), Subject: f.GetSubject(),
				Field:   f.GetField(),
				Message: f.GetMessage(), Hint: f.GetHint(), Reason: f.GetReason(), Step: f.GetStep()})
		}
	}
	switch len(faults) {
	case 0:
	case 1:
		return faults[0]
	default:
		return errors.Join(faults...)
	}
	return &fault.Fault{Kind: kindOf(s.Code()), Message: s.Message()}
}

func kindOf(c codes.Code) fault.Kind {
	switch c {
	case codes.DeadlineExceeded:
		return fault.Unavailable
	case codes.Unauthenticated:
		return fault.Denied
	case codes.OutOfRange:
		return fault.Invalid
	}
	for k, code := range codeOf {
		if code == c {
			return k
		}
	}
	return fault.Internal
}

// UnaryClient is an interceptor that converts statuses of unary calls to faults.
func UnaryClient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker,
	opts ...grpc.CallOption) error {
	return FromStatus(invoke(ctx, method, req, reply, cc, opts...))
}

// StreamClient is an interceptor that converts statuses of streams to faults.
func StreamClient(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer,
	opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, FromStatus(err)
	}
	return clientStream{s}, nil
}

type clientStream struct{ grpc.ClientStream }

func (s clientStream) RecvMsg(m any) error { return FromStatus(s.ClientStream.RecvMsg(m)) }

func (s clientStream) SendMsg(m any) error { return FromStatus(s.ClientStream.SendMsg(m)) }
