package buildkit

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// sessionTimeout bounds the wait for the session of a build.
const sessionTimeout = 30 * time.Second

// Headers of a session.
const (
	headerPrefix  = "X-Docker-Expose-Session-"
	headerID      = headerPrefix + "Uuid"
	headerMethods = headerPrefix + "Grpc-Method"
)

// HasID reports whether the header of a request names a session.
func HasID(header http.Header) bool { return header.Get(headerID) != "" }

// Methods that BuildKit calls on a session.
const (
	methodSend   = "/moby.filesync.v1.FileSend/DiffCopy"
	methodPolicy = "/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy"
	methodInfo   = "/containerd.services.content.v1.Content/Info"
	methodRead   = "/containerd.services.content.v1.Content/Read"
	methodWrite  = "/containerd.services.content.v1.Content/Write"
)

// session is a connection on which BuildKit calls the client, and the engine in the client's place.
type session struct {
	id     string
	client grpc.ClientConnInterface // nil for a session of the engine
	local  *local                   // nil for a session of a client
	images *images                  // of the store

	mu      sync.Mutex
	loads   map[string]bool // exporters whose archive is loaded
	result  *result         // of the build whose blobs are received; nil without one
	stored  bool            // images of the store are used
	checked bool            // the client checks sources too
}

// use adds a build.
func (s *session) use(p plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range p.load {
		s.loads[exporterKey(i)] = true
	}
	s.stored, s.checked = p.local, p.checked
}

// startResult makes the session receive the blobs of a build's result, if it does not receive another one. A
// session can have several builds, and their blobs do not name them.
func (s *session) startResult(names string) *result {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.result != nil {
		return nil
	}
	s.result = newResult(s.images, names)
	return s.result
}

// closeResult forgets the result that startResult has created.
func (s *session) closeResult() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.close()
	s.result = nil
}

// receives returns the result that is received, or nil.
func (s *session) receives() *result {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.result
}

// Session serves a client's connection of POST /session until it is closed. The header is that of the
// request.
func (g *Gateway) Session(ctx context.Context, bk *BuildKit, conn net.Conn, header http.Header) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	only := &onlyConn{Conn: conn, closed: make(chan struct{})}
	client, err := clientOn(only)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	go func() {
		select {
		case <-only.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return g.serveSession(ctx, bk, header, client, nil)
}

// serveSession opens a session at BuildKit and serves its calls, with the client or with files.
func (g *Gateway) serveSession(ctx context.Context, bk *BuildKit, header http.Header,
	client grpc.ClientConnInterface, files *local) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &session{id: header.Get(headerID), client: client, local: files,
		images: newImages(ctx, g.cfg.Images), loads: map[string]bool{}}
	defer s.images.close()

	stream, err := bk.conn.NewStream(metadata.NewOutgoingContext(ctx, sessionMetadata(header)),
		&grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, methodSession)
	if err != nil {
		return err
	}
	if err := g.add(s); err != nil {
		return err
	}
	defer g.remove(s)
	serveOn(ctx, &tunnel{stream: stream, cancel: cancel}, func(_ any, in grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(in)
		return s.serve(in, method)
	})
	return nil
}

// sessionMetadata returns the headers of a session for BuildKit. The engine serves some methods.
func sessionMetadata(header http.Header) metadata.MD {
	md := metadata.MD{}
	for key, values := range header {
		if strings.HasPrefix(key, headerPrefix) {
			md[strings.ToLower(key)] = append([]string{}, values...)
		}
	}
	methods := strings.ToLower(headerMethods)
	md[methods] = append(md[methods], methodSend, methodPolicy, methodInfo, methodRead, methodWrite)
	return md
}

// serve serves a call of BuildKit.
func (s *session) serve(in grpc.ServerStream, method string) error {
	md, _ := metadata.FromIncomingContext(in.Context())
	switch {
	case method == methodSend && s.isLoaded(md):
		return s.images.load(in)
	case method == methodPolicy && s.usesStore():
		return unary(in, s.checkSource)
	case method == methodInfo && isStore(md):
		return unary(in, s.images.info)
	case method == methodRead && isStore(md):
		return s.images.read(in)
	case method == methodWrite && isExport(md):
		if r := s.receives(); r != nil {
			return r.write(in)
		}
	}
	if s.local != nil {
		return s.local.serve(in, method)
	}
	return forward(in, method, s.client)
}

// isLoaded reports whether an archive goes to the store.
func (s *session) isLoaded(md metadata.MD) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := exporterKey(0)
	if values := md.Get("buildkit-attachable-exporter-id"); len(values) > 0 {
		key = values[0]
	}
	return s.loads[key]
}

func (s *session) usesStore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored
}

// tunnel is a connection in the messages of a stream.
type tunnel struct {
	stream messages
	cancel context.CancelFunc
	rest   []byte // received, not read yet
}

// messages is a stream of either side.
type messages interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

// tunnelData is the field of a message with data.
const tunnelData wire.Number = 1

// Read reads from the stream.
func (t *tunnel) Read(b []byte) (int, error) {
	for len(t.rest) == 0 {
		f := &frame{}
		if err := t.stream.RecvMsg(f); err != nil {
			return 0, err
		}
		m, err := wire.Parse(f.data)
		if err != nil {
			return 0, err
		}
		t.rest = m.Data(tunnelData)
	}
	n := copy(b, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

// tunnelChunk is the maximum size of the data of a message.
const tunnelChunk = 32 << 10

// Write writes to the stream.
func (t *tunnel) Write(b []byte) (int, error) {
	for at := 0; at < len(b); at += tunnelChunk {
		piece := b[at:min(at+tunnelChunk, len(b))]
		if err := t.stream.SendMsg(&frame{wire.Message{}.WithData(tunnelData, piece).Bytes()}); err != nil {
			return at, err
		}
	}
	return len(b), nil
}

// Close ends the stream.
func (t *tunnel) Close() error {
	t.cancel()
	return nil
}

// tunnelAddr is the address of a tunnel.
type tunnelAddr struct{}

// Network returns the name of the network.
func (tunnelAddr) Network() string { return "tunnel" }

// String returns the address.
func (tunnelAddr) String() string { return "buildkit" }

// LocalAddr implements net.Conn.
func (*tunnel) LocalAddr() net.Addr { return tunnelAddr{} }

// RemoteAddr implements net.Conn.
func (*tunnel) RemoteAddr() net.Addr { return tunnelAddr{} }

// SetDeadline does nothing: the context of the stream ends calls.
func (*tunnel) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (*tunnel) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (*tunnel) SetWriteDeadline(time.Time) error { return nil }
