package buildkit

import (
	"context"
	"strings"

	"github.com/distribution/reference"
	"google.golang.org/grpc/metadata"

	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// Fields of the messages of CheckPolicy.
const (
	checkPlatform wire.Number = 1
	checkMeta     wire.Number = 2
	metaSource    wire.Number = 1

	sourceIdentifier wire.Number = 1
	sourceAttrs      wire.Number = 2

	platformArch    wire.Number = 1
	platformOS      wire.Number = 2
	platformVariant wire.Number = 3

	checkDecision  wire.Number = 1
	decisionAction wire.Number = 1
	decisionUpdate wire.Number = 3
)

// actionConvert is the action that replaces a source. That which allows one is 0.
const actionConvert = 2

// Schemes of sources.
const (
	registryScheme = "docker-image://"
	layoutScheme   = "oci-layout://"
)

// Attributes of a source in the content store of a session. The header of its calls has the store.
const (
	attrSession = "oci.session"
	attrStore   = "oci.store"
	storeID     = "fairlead"
	headerStore = "buildkit-attachable-store-id"
)

// isStore reports whether a call is for the image store.
func isStore(md metadata.MD) bool {
	values := md.Get(headerStore)
	return len(values) > 0 && values[0] == "oci:"+storeID
}

// allowed is the response that allows a source as it is.
func allowed() []byte { return wire.Message{}.WithData(checkDecision, nil).Bytes() }

// checkSource serves CheckPolicy: an image that the store has is read from there. A policy of the client
// comes first.
func (s *session) checkSource(ctx context.Context, data []byte) ([]byte, error) {
	req, err := wire.Parse(data)
	if err != nil {
		return nil, err
	}
	source := req.Message(checkMeta).Message(metaSource)
	if source.Map(sourceAttrs)[attrStore] == storeID {
		return allowed(), nil
	}

	decision := allowed()
	s.mu.Lock()
	checked := s.checked
	s.mu.Unlock()
	if checked && s.client != nil {
		if decision, err = invoke(ctx, s.client, methodPolicy, data); err != nil || !allows(decision) {
			return decision, err
		}
	}
	found, err := s.images.find(source.Text(sourceIdentifier), platformOf(req.Message(checkPlatform)))
	if err != nil || found == "" {
		return decision, err
	}
	update := wire.Message{}.WithText(sourceIdentifier, layoutScheme+found).
		WithEntry(sourceAttrs, attrSession, s.id).WithEntry(sourceAttrs, attrStore, storeID)
	return wire.Message{}.WithData(checkDecision, wire.Message{}.WithInt(decisionAction, actionConvert).
		WithData(decisionUpdate, update.Bytes()).Bytes()).Bytes(), nil
}

// allows reports whether a response of CheckPolicy allows the source as it is.
func allows(data []byte) bool {
	resp, err := wire.Parse(data)
	return err == nil && resp.Data(checkDecision) != nil && resp.Message(checkDecision).Int(decisionAction) == 0
}

// platformOf returns a platform as os/arch[/variant]. Empty means the host's.
func platformOf(m wire.Message) string {
	os, arch, variant := m.Text(platformOS), m.Text(platformArch), m.Text(platformVariant)
	if os == "" || arch == "" {
		return ""
	}
	return strings.TrimSuffix(os+"/"+arch+"/"+variant, "/")
}

// parseSource returns the reference of a source in a registry. ok is false for other sources.
func parseSource(identifier string) (reference.Named, bool) {
	text, ok := strings.CutPrefix(identifier, registryScheme)
	if !ok {
		return nil, false
	}
	named, err := reference.ParseNormalizedNamed(text)
	return named, err == nil
}
