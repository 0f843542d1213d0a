package service

import "context"

// outlastKey is the key of the function that WithOutlast adds.
type outlastKey struct{}

// WithOutlast returns a context for the HTTP requests of a server, which calls outlast for Outlast.
func WithOutlast(ctx context.Context, outlast func(request context.Context) (context.Context, func())) context.Context {
	return context.WithValue(ctx, outlastKey{}, outlast)
}

// Outlast returns a context for work that continues after the handler of an HTTP request has returned, such
// as forwarding on a connection that was taken over. It has the client of the request and ends when the
// server stops. The server waits until done is called.
func Outlast(request context.Context) (ctx context.Context, done func()) {
	if outlast, ok := request.Value(outlastKey{}).(func(context.Context) (context.Context, func())); ok {
		return outlast(request)
	}
	return context.WithoutCancel(request), func() {}
}
