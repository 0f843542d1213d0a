package buildkit

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// Methods of BuildKit.
const (
	methodSolve        = "/moby.buildkit.v1.Control/Solve"
	methodWorkers      = "/moby.buildkit.v1.Control/ListWorkers"
	methodSession      = "/moby.buildkit.v1.Control/Session"
	methodGatewaySolve = "/moby.buildkit.v1.frontend.LLBBridge/Solve"
)

// Fields of the messages of Solve.
const (
	solveRef           wire.Number = 1
	solveOldExporter   wire.Number = 3
	solveSession       wire.Number = 5
	solveFrontend      wire.Number = 6
	solveAttrs         wire.Number = 7
	solveExporters     wire.Number = 13
	solvePolicySession wire.Number = 15

	exporterType  wire.Number = 1
	exporterAttrs wire.Number = 2

	gatewayAttrs wire.Number = 3
)

// Docker's exporter, which stores the image, and the one that replaces it: it sends an archive.
const (
	dockerExporter  = "moby"
	archiveExporter = "docker"
)

// pullMode is the value of the attribute image-resolve-mode for --pull: images of the store are not used.
const pullMode = "pull"

// solve serves a build.
func (g *Gateway) solve(ctx context.Context, bk *BuildKit, data []byte) ([]byte, error) {
	req, err := wire.Parse(data)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "build: "+err.Error())
	}
	plan := planOf(req)
	if plan.needsSession() {
		s, err := g.session(ctx, req.Text(solveSession))
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		s.use(plan)
		if names, ok := plan.only(); ok && s.startResult(names) != nil {
			defer s.closeResult()
			plan.request = inBlobs(plan.request)
		}
	}
	resp, err := invoke(ctx, bk.conn, methodSolve, plan.request.Bytes())
	return resp, bk.reason(err)
}

// plan is a build with what the engine does for it.
type plan struct {
	request wire.Message
	load    []int // exporters whose archive is loaded, by their place
	local   bool  // images of the store are used
	checked bool  // the client checks sources too
}

func (p plan) needsSession() bool { return p.local || len(p.load) > 0 }

// only returns the names of the image if that is the only result. BuildKit can then send it blob by blob.
func (p plan) only() (names string, ok bool) {
	exporters := p.request.Messages(solveExporters)
	if len(p.load) != 1 || len(exporters) != 1 {
		return "", false
	}
	names = exporters[0].Map(exporterAttrs)["name"]
	return names, names != anyName
}

// anyName is the name of an image that BuildKit chooses.
const anyName = "*"

// inBlobs returns the request of a build whose only result is sent blob by blob. All layers are
// uncompressed: the digest of the blob is then the one by which the store knows the layer.
func inBlobs(req wire.Message) wire.Message {
	e := req.Message(solveExporters).WithEntry(exporterAttrs, "tar", "false").
		WithEntry(exporterAttrs, "force-compression", "true")
	return req.Without(solveExporters).WithData(solveExporters, e.Bytes())
}

// planOf returns the plan of a request. Docker's exporter is replaced, and BuildKit asks the session
// about each source.
func planOf(req wire.Message) plan {
	p := plan{checked: req.Text(solvePolicySession) != "", local: req.Text(solveSession) != "" &&
		req.Map(solveAttrs)["image-resolve-mode"] != pullMode}

	exporters := req.Messages(solveExporters)
	out := req.Without(solveExporters)
	if req.Text(solveOldExporter) == dockerExporter {
		out = out.Without(solveOldExporter).WithText(solveOldExporter, archiveExporter)
		if len(exporters) == 0 {
			p.load = []int{0}
		}
	}
	for i, e := range exporters {
		if e.Text(exporterType) == dockerExporter {
			e = e.Without(exporterType).WithText(exporterType, archiveExporter).
				WithEntry(exporterAttrs, "compression", "uncompressed")
			p.load = append(p.load, i)
		}
		out = out.WithData(solveExporters, e.Bytes())
	}
	if len(p.load) > 0 {
		out = withoutAttestations(out, solveAttrs)
	}
	if p.local && !p.checked {
		out = out.WithText(solvePolicySession, req.Text(solveSession))
	}
	p.request = out
	return p
}

// withoutAttestations removes requests for attestations, which the store does not keep. As in Docker,
// that is not an error.
func withoutAttestations(m wire.Message, attrs wire.Number) wire.Message {
	out := m.Without(attrs)
	for _, entry := range m.Messages(attrs) {
		if !strings.HasPrefix(entry.Text(1), "attest:") {
			out = out.WithData(attrs, entry.Bytes())
		}
	}
	return out
}

// gatewaySolve serves a step of a build that the client controls. Its result is exported by Solve.
func (b *BuildKit) gatewaySolve(ctx context.Context, data []byte) ([]byte, error) {
	req, err := wire.Parse(data)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "build: "+err.Error())
	}
	return invoke(ctx, b.conn, methodGatewaySolve, withoutAttestations(req, gatewayAttrs).Bytes())
}

// Fields of the response of ListWorkers.
const (
	workersRecord wire.Number = 1
	workerLabels  wire.Number = 2
)

// snapshotterLabel is the label by which clients recognize a store that keeps what BuildKit exports:
// several platforms and attestations.
const snapshotterLabel = "org.mobyproject.buildkit.worker.snapshotter"

// workers serves ListWorkers.
func (b *BuildKit) workers(ctx context.Context, req []byte) ([]byte, error) {
	data, err := invoke(ctx, b.conn, methodWorkers, req)
	if err != nil {
		return nil, err
	}
	resp, err := wire.Parse(data)
	if err != nil {
		return data, nil
	}
	out := resp.Without(workersRecord)
	for _, record := range resp.Messages(workersRecord) {
		changed := record.Without(workerLabels)
		for _, label := range record.Messages(workerLabels) {
			if label.Text(1) != snapshotterLabel {
				changed = changed.WithData(workerLabels, label.Bytes())
			}
		}
		out = out.WithData(workersRecord, changed.Bytes())
	}
	return out.Bytes(), nil
}
