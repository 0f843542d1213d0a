package imagedoc_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apitest"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"
)

func image(t *testing.T) *containerv1.Image {
	t.Helper()
	i := &containerv1.Image{}
	apitest.ReadMessage(t, "image.json", i)
	return i
}

func TestSummaryOfVersions(t *testing.T) {
	i := image(t)
	usage := imagedoc.Usage{Shared: map[string]int64{i.GetId(): 1000}, Manifests: true,
		Containers: map[string][]string{i.GetId(): {"c2", "c1"}}}
	for _, minor := range []int{24, 42, 44, 48, 56} {
		apitest.Golden(t, fmt.Sprintf("summary-%d", minor), imagedoc.SummaryFromProto(i, apiversion.V(minor), usage))
	}
	apitest.Validate(t, "GET /images/json", 200, []any{imagedoc.SummaryFromProto(i, apiversion.Max, usage)})

	i.Containers = 2
	doc, err := json.Marshal(imagedoc.SummaryFromProto(i, apiversion.V(40), imagedoc.Usage{
		Shared: map[string]int64{i.GetId(): 7}, Disk: true}))
	if err != nil || !strings.Contains(string(doc), `"Containers":2`) ||
		!strings.Contains(string(doc), `"SharedSize":7`) {
		t.Errorf("disk usage of an old version: got %s, %v", doc, err)
	}

	dangling := &containerv1.Image{Id: i.GetId()}
	apitest.Golden(t, "dangling-42", imagedoc.SummaryFromProto(dangling, apiversion.V(42), imagedoc.Usage{}))
	apitest.Golden(t, "dangling-56", imagedoc.SummaryFromProto(dangling, apiversion.V(56), imagedoc.Usage{}))
	apitest.Validate(t, "GET /images/json", 200,
		[]any{imagedoc.SummaryFromProto(dangling, apiversion.Max, imagedoc.Usage{})})
}

func TestInspectOfVersions(t *testing.T) {
	for _, minor := range []int{24, 44, 49, 50, 52, 56} {
		out, err := imagedoc.InspectFromProto(image(t), apiversion.V(minor), minor >= 56)
		if err != nil {
			t.Fatal(err)
		}
		apitest.Golden(t, fmt.Sprintf("inspect-%d", minor), out)
		if minor >= 52 {
			apitest.Validate(t, "GET /images/{name}/json", 200, out)
		}
	}

	broken := &containerv1.Image{Id: "sha256:1", Config: []byte("{")}
	out, err := imagedoc.InspectFromProto(broken, apiversion.V(43), true)
	if err != nil {
		t.Fatal(err)
	}
	apitest.Golden(t, "inspect-empty-43", out)
}

func TestInstructionsOfConfiguration(t *testing.T) {
	apitest.Golden(t, "instructions", imagedoc.Instructions(&container.Config{
		Cmd: []string{"echo", "a b"}, Entrypoint: []string{"sh"}, Env: []string{"A=1", `B=x "y" \z`},
		Labels: map[string]string{"k": "v", "a b": "c=d"}, WorkingDir: "/tmp", Volumes: map[string]struct{}{"/v": {}},
		ExposedPorts: network.PortSet{network.MustParsePort("80/tcp"): {}},
	}))
	if out := imagedoc.Instructions(&container.Config{}); len(out) > 0 {
		t.Errorf("got %q for an empty configuration", out)
	}
}

func TestListsOfImages(t *testing.T) {
	history := imagedoc.HistoryFromProto([]*containerv1.ImageHistory{
		{Id: "sha256:1", CreatedBy: "CMD", Comment: "c", Tags: []string{"web:1"}}, {CreatedBy: "ADD", Size: 3}})
	apitest.Golden(t, "history", history)
	deleted := imagedoc.Deleted([]string{"web:1"}, []string{"sha256:1", "sha256:2"})
	apitest.Golden(t, "deleted", deleted)
	apitest.Validate(t, "DELETE /images/{name}", 200, deleted)

	remote := imagedoc.DistributionFromProto(&containerv1.GetRemoteImageResponse{Digest: image(t).GetManifestDigest(),
		MediaType: "application/vnd.oci.image.index.v1+json", Size: 7,
		Platforms: []string{"linux/amd64", "linux/arm/v7"}})
	apitest.Golden(t, "distribution", remote)
	apitest.Validate(t, "GET /distribution/{name}/json", 200, remote)
}
