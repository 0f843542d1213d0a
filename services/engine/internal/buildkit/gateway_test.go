package buildkit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// fakeStore is an image store with one image, of one layer.
type fakeStore struct {
	containerv1.ImageServiceClient
	manifest, config, layer []byte

	mu     sync.Mutex
	loaded bytes.Buffer
	reads  []int64 // offsets at which the layer was opened
}

func newFakeStore() *fakeStore {
	s := &fakeStore{config: []byte(`{"os":"linux"}`), layer: bytes.Repeat([]byte("layer"), 1000)}
	s.manifest = fmt.Appendf(nil, `{"config":{"digest":%q,"size":14},"layers":[{"digest":%q,"size":5000}]}`,
		digest.FromBytes(s.config), digest.FromBytes(s.layer))
	return s
}

func (s *fakeStore) GetImageLayout(_ context.Context, req *containerv1.GetImageLayoutRequest,
	_ ...grpc.CallOption) (*containerv1.GetImageLayoutResponse, error) {
	if req.GetReference() != "app:1" {
		return nil, fault.New(fault.NotFound, "image", "No such image")
	}
	return &containerv1.GetImageLayoutResponse{Manifest: s.manifest, Config: s.config}, nil
}

// pieces is a stream of the store: it receives a layer, or sends an archive.
type pieces struct {
	grpc.ClientStream
	store *fakeStore
	rest  []byte
}

func (s *fakeStore) ReadImageLayer(_ context.Context, req *containerv1.ReadImageLayerRequest,
	_ ...grpc.CallOption) (grpc.ServerStreamingClient[containerv1.ReadImageLayerResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, req.GetOffset())
	return &layerPieces{pieces{store: s, rest: s.layer[req.GetOffset():]}}, nil
}

type layerPieces struct{ pieces }

// Recv returns at most 700 bytes.
func (p *layerPieces) Recv() (*containerv1.ReadImageLayerResponse, error) {
	if len(p.rest) == 0 {
		return nil, io.EOF
	}
	n := min(700, len(p.rest))
	m := &containerv1.ReadImageLayerResponse{Data: p.rest[:n]}
	p.rest = p.rest[n:]
	return m, nil
}

func (s *fakeStore) LoadImage(context.Context,
	...grpc.CallOption) (grpc.BidiStreamingClient[containerv1.LoadImageRequest,
	containerv1.LoadImageResponse], error) {
	return &loadPieces{pieces{store: s}}, nil
}

type loadPieces struct{ pieces }

func (p *loadPieces) Send(m *containerv1.LoadImageRequest) error {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	_, err := p.store.loaded.Write(m.GetData())
	return err
}

func (p *loadPieces) CloseSend() error { return nil }

func (p *loadPieces) Recv() (*containerv1.LoadImageResponse, error) {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	if p.store.loaded.String() != "archive" {
		return nil, fault.New(fault.Invalid, "archive", "is broken")
	}
	return &containerv1.LoadImageResponse{}, nil
}

// fakeBuildKit serves BuildKit's methods. Its build is a function that calls the session.
func fakeBuildKit(t *testing.T, build func(session *grpc.ClientConn, md metadata.MD,
	req wire.Message) error) *BuildKit {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	type opened struct {
		conn *grpc.ClientConn
		md   metadata.MD
	}
	sessions := make(chan opened, 100)
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(
		func(_ any, in grpc.ServerStream) error {
			method, _ := grpc.MethodFromServerStream(in)
			switch method {
			case methodSession:
				md, _ := metadata.FromIncomingContext(in.Context())
				ctx, cancel := context.WithCancel(in.Context())
				conn, err := clientOn(&tunnel{stream: in, cancel: cancel})
				if err != nil {
					return err
				}
				defer func() { _ = conn.Close() }()
				sessions <- opened{conn, md}
				<-ctx.Done()
				return nil
			case methodSolve:
				return unary(in, func(_ context.Context, data []byte) ([]byte, error) {
					req, err := wire.Parse(data)
					if err != nil {
						return nil, err
					}
					s := <-sessions
					if err := build(s.conn, s.md, req); err != nil {
						return nil, err
					}
					return wire.Message{}.WithEntry(solvedResponse, "containerimage.config.digest",
						"sha256:1").Bytes(), nil
				})
			case methodStatus:
				return in.SendMsg(&frame{wire.Message{}.WithData(statusLogs,
					wire.Message{}.WithText(logVertex, "v").WithText(logData, "out").Bytes()).Bytes()})
			}
			return status.Error(codes.Unimplemented, method)
		}))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	bk := &BuildKit{conn: conn, cancel: func() {}}
	t.Cleanup(bk.Close)
	return bk
}

// call calls a method with one response. The metadata are key and value.
func call(t *testing.T, conn *grpc.ClientConn, method string, req wire.Message, md ...string) (wire.Message, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), md...), time.Minute)
	defer cancel()
	resp := &frame{}
	if err := conn.Invoke(ctx, method, &frame{req.Bytes()}, resp); err != nil {
		return nil, err
	}
	return wire.Parse(resp.data)
}

// source returns the request of CheckPolicy for an image.
func source(name string) wire.Message {
	return wire.Message{}.WithData(checkMeta, wire.Message{}.WithData(metaSource,
		wire.Message{}.WithText(sourceIdentifier, registryScheme+name).Bytes()).Bytes())
}

// readLayer reads a piece of a layer.
func readLayer(t *testing.T, conn *grpc.ClientConn, req wire.Message) (data []byte) {
	t.Helper()
	stream, err := conn.NewStream(metadata.AppendToOutgoingContext(t.Context(), headerStore, "oci:"+storeID),
		&grpc.StreamDesc{ServerStreams: true}, methodRead)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(&frame{req.Bytes()}); err != nil {
		t.Fatal(err)
	}
	_ = stream.CloseSend()
	for {
		f := &frame{}
		err := stream.RecvMsg(f)
		if err == io.EOF {
			return data
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := wire.Parse(f.data)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, m.Data(readData)...)
	}
}

// useStore does what BuildKit does with an image of the store, and with the archive of a result.
func useStore(t *testing.T, store *fakeStore, conn *grpc.ClientConn, id string) {
	t.Helper()
	resp, err := call(t, conn, methodPolicy, source("docker.io/library/app:1"))
	update := resp.Message(checkDecision).Message(decisionUpdate)
	manifest := digest.FromBytes(store.manifest)
	if want := layoutScheme + "docker.io/library/app:1@" + manifest.String(); err != nil ||
		update.Text(sourceIdentifier) != want || update.Map(sourceAttrs)[attrSession] != id {
		t.Errorf("got source %v, %v; want %s", update, err, want)
	}
	if resp, err := call(t, conn, methodPolicy, source("docker.io/library/other:1")); err != nil ||
		!allows(resp.Bytes()) {
		t.Errorf("got %v, %v for an image that is not stored", resp, err)
	}

	in := []string{headerStore, "oci:" + storeID}
	for d, size := range map[digest.Digest]int64{manifest: int64(len(store.manifest)),
		digest.FromBytes(store.layer): 5000} {
		resp, err := call(t, conn, methodInfo, wire.Message{}.WithText(contentDigest, d.String()), in...)
		if err != nil || resp.Message(infoInfo).Int(infoSize) != size {
			t.Errorf("got %v, %v", resp, err)
		}
	}
	var read []byte
	for offset := int64(0); offset < 5000; offset += 500 {
		read = append(read, readLayer(t, conn, wire.Message{}.WithText(contentDigest,
			digest.FromBytes(store.layer).String()).
			WithInt(contentOffset, offset).WithInt(contentSize, 500))...)
	}
	if len(store.reads) != 1 || !bytes.Equal(read, store.layer) {
		t.Errorf("got %d bytes of the layer, opened at %v; want it opened once", len(read), store.reads)
	}
	if again := readLayer(t, conn, wire.Message{}.WithText(contentDigest, digest.FromBytes(store.layer).String()).
		WithInt(contentOffset, 4990)); string(again) != "layerlayer" {
		t.Errorf("got %q at the end of the layer", again)
	}

	stream, err := conn.NewStream(metadata.AppendToOutgoingContext(t.Context(), "buildkit-attachable-exporter-id", "0"),
		&grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, methodSend)
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range []string{"arch", "ive"} {
		if err := stream.SendMsg(&frame{wire.Message{}.WithText(sentData, piece).Bytes()}); err != nil {
			t.Error(err)
		}
	}
	_ = stream.CloseSend()
	if err := stream.RecvMsg(&frame{}); err != io.EOF {
		t.Errorf("got %v of a loaded archive", err)
	}
}

func TestBuildOfTheEngine(t *testing.T) {
	store := newFakeStore()
	bk := fakeBuildKit(t, func(conn *grpc.ClientConn, md metadata.MD, req wire.Message) error {
		id := req.Text(solveSession)
		if got := md.Get(strings.ToLower(headerID)); len(got) != 1 || got[0] != id ||
			req.Text(solvePolicySession) != id {
			t.Errorf("got session %v, want %s", md, id)
		}
		useStore(t, store, conn, id)
		if resp, err := call(t, conn, methodHealth, nil); err != nil || resp.Int(1) != 1 {
			t.Errorf("got health %v, %v", resp, err)
		}
		resp, err := call(t, conn, methodCredentials, wire.Message{}.WithText(credentialsHost, "r.example"))
		if err != nil || resp.Text(credentialsUser) != "me" {
			t.Errorf("got credentials %v, %v", resp, err)
		}
		if _, err := call(t, conn, "/other/Method", nil); status.Code(err) != codes.Unimplemented {
			t.Errorf("got %v of an unknown method", err)
		}
		return nil
	})
	g := New(Config{Images: store})
	var logs []Log
	id, err := g.Build(t.Context(), bk, Build{Credentials: func(string) (string, string) { return "me", "secret" }},
		func(s Status) { logs = append(logs, s.Logs...) })
	if id != "sha256:1" || err != nil || len(logs) != 1 || string(logs[0].Data) != "out" {
		t.Errorf("got %s, %v and logs %v", id, err, logs)
	}
	if store.loaded.String() != "archive" || len(g.sessions) != 0 {
		t.Errorf("got archive %q and sessions %v", store.loaded.String(), g.sessions)
	}
}

func TestSessionOfAClient(t *testing.T) {
	store, g := newFakeStore(), New(Config{Images: newFakeStore()})
	g.cfg.Images = store
	bk := fakeBuildKit(t, func(conn *grpc.ClientConn, _ metadata.MD, req wire.Message) error {
		useStore(t, store, conn, req.Text(solveSession))
		if resp, err := call(t, conn, "/client/Echo", wire.Message{}.WithText(1, "hello"), "key",
			"value"); err != nil ||
			resp.Text(1) != "hello value" {
			t.Errorf("got %v, %v of the client", resp, err)
		}
		return nil
	})

	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		serveOn(ctx, far, func(_ any, in grpc.ServerStream) error {
			md, _ := metadata.FromIncomingContext(in.Context())
			return unary(in, func(_ context.Context, data []byte) ([]byte, error) {
				m, err := wire.Parse(data)
				return wire.Message{}.WithText(1, m.Text(1)+" "+strings.Join(md.Get("key"), ",")).Bytes(), err
			})
		})
	})
	all.Go(func() {
		if err := g.Session(ctx, bk, near, http.Header{headerID: {"s1"}}); err != nil {
			t.Error(err)
		}
	})

	req := wire.Message{}.WithText(solveSession, "s1").WithData(solveExporters, exporter(dockerExporter))
	if _, err := g.solve(ctx, bk, req.Bytes()); err != nil {
		t.Error(err)
	}
	_ = far.Close() // the client leaves
	all.Wait()
	cancel()
	if len(g.sessions) != 0 {
		t.Errorf("got sessions %v after their end", g.sessions)
	}
}
