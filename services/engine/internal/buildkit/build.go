package buildkit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tonistiigi/fsutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// Build is a build that the engine requests for a client of POST /build.
type Build struct {
	Attrs map[string]string // of the Dockerfile frontend
	Tags  []string
	// HostNetwork lets steps use the host's network.
	HostNetwork bool
	// Session is the ID of the client's session, which has the files. Without one, Context has them.
	Session string
	Context fsutil.FS
	// Credentials returns the user name and password for a registry.
	Credentials func(host string) (user, password string)
}

// Fields of the messages of Solve and Status that only builds of the engine use.
const (
	solveEntitlements wire.Number = 9

	solvedResponse wire.Number = 1

	statusRef wire.Number = 1
)

const methodStatus = "/moby.buildkit.v1.Control/Status"

// Build builds an image and returns its ID. report is called with each message of the progress, by one
// goroutine at a time.
func (g *Gateway) Build(ctx context.Context, bk *BuildKit, b Build, report func(Status)) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	if b.Session == "" {
		b.Session = newID()
		all.Go(func() {
			defer cancel()
			_ = g.serveSession(ctx, bk, localHeader(b.Session), nil, &local{b}) // the build fails with it
		})
	}

	ref := newID()
	done := make(chan struct{})
	go func() {
		defer close(done)
		bk.status(ctx, ref, report)
	}()
	resp, err := g.solve(ctx, bk, b.request(ref).Bytes())
	if err != nil {
		// The last output of the failed step and its exit code can arrive after the error.
		late := time.AfterFunc(statusTimeout, cancel)
		<-done
		late.Stop()
		return "", fault.New(fault.Invalid, "build", status.Convert(err).Message())
	}
	<-done
	m, err := wire.Parse(resp)
	if err != nil {
		return "", err
	}
	return m.Map(solvedResponse)["containerimage.config.digest"], nil
}

// statusTimeout limits how long the status of a failed build is awaited.
const statusTimeout = 5 * time.Second

// request returns the message of the build.
func (b Build) request(ref string) wire.Message {
	exporter := wire.Message{}.WithText(exporterType, dockerExporter)
	if len(b.Tags) > 0 {
		exporter = exporter.WithEntry(exporterAttrs, "name", strings.Join(b.Tags, ","))
	}
	m := wire.Message{}.WithText(solveRef, ref).WithText(solveSession, b.Session).
		WithText(solveFrontend, "dockerfile.v0").WithData(solveExporters, exporter.Bytes())
	for key, value := range b.Attrs {
		m = m.WithEntry(solveAttrs, key, value)
	}
	if b.HostNetwork {
		m = m.WithText(solveEntitlements, "network.host")
	}
	return m
}

// newID returns a random ID.
func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// localHeader returns the headers of a session of the engine.
func localHeader(id string) http.Header {
	h := http.Header{}
	h.Set(headerID, id)
	h.Set(headerPrefix+"Name", "build")
	for _, method := range []string{methodFiles, methodCredentials} {
		h.Add(headerMethods, method)
	}
	return h
}

// status reports the progress of a build until it ends.
func (b *BuildKit) status(ctx context.Context, ref string, report func(Status)) {
	stream, err := b.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, methodStatus)
	if err != nil {
		return
	}
	if err := stream.SendMsg(&frame{wire.Message{}.WithText(statusRef, ref).Bytes()}); err != nil {
		return
	}
	_ = stream.CloseSend() // the response has the error
	for {
		f := &frame{}
		if stream.RecvMsg(f) != nil { // the build has the error
			return
		}
		if s, err := parseStatus(f.data); err == nil {
			report(s)
		}
	}
}
