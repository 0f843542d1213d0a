package command_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// prunes responds to all prune requests.
func prunes() clienttest.Script {
	return clienttest.Script{
		"PruneContainers": {clienttest.Answers(&containerv1.PruneContainersResponse{Deleted: []string{"c1", "c2"},
			Reclaimed: 1000})},
		"PruneNetworks": {clienttest.Answers(&networkv1.PruneNetworksResponse{Deleted: []string{"net"}})},
		"PruneVolumes": {clienttest.Answers(&containerv1.PruneVolumesResponse{Deleted: []string{"vol"},
			Reclaimed: 2000})},
		"PruneImages": {clienttest.Answers(&containerv1.PruneImagesResponse{Deleted: []string{"sha256:1"},
			Reclaimed: 4000})},
	}
}

func TestContainerPrune(t *testing.T) {
	const question = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] "
	const gone = "Deleted Containers:\nc1\nc2\n\nTotal reclaimed space: 1kB\n"
	checkAll(t, []row{
		{args: "container prune -f", script: prunes(), stdout: gone,
			requests: []proto.Message{&containerv1.PruneContainersRequest{}}},
		{args: "container prune -f --filter until=1h --filter label=a --filter label!=b=1", script: prunes(),
			stdout: gone, requests: []proto.Message{&containerv1.PruneContainersRequest{Until: ago(time.Hour),
				Labels: []string{"a"}, ExcludeLabels: []string{"b=1"}}}},
		{args: "container prune", stdin: "y\n", script: prunes(), stdout: question + gone},
		{args: "container prune", stdin: "\n", stdout: question, code: 1, requests: []proto.Message{},
			stderr: "container prune has been cancelled\n"},
		{args: "container prune -f", stdout: "Total reclaimed space: 0B\n", script: clienttest.Script{
			"PruneContainers": {clienttest.Answers(&containerv1.PruneContainersResponse{})}}},
		{args: "container prune -f --filter name=x", code: 1, requests: []proto.Message{},
			stderr: "fairlead: --filter name=x: invalid filter 'name'; use until, label or label!; " +
				"see 'fairlead container prune --help'\n"},
	})
}

func TestSystemPrune(t *testing.T) {
	const ends = "Are you sure you want to continue? [y/N] "
	const question = "WARNING! This will remove:\n  - all stopped containers\n" +
		"  - all networks not used by at least one container\n"
	const gone = "Deleted Containers:\nc1\nc2\n\nDeleted Networks:\nnet\n\n"
	const images = "Deleted Images:\ndeleted: sha256:1\n\n"
	checkAll(t, []row{
		{args: "system prune -f", script: prunes(), stdout: gone + images + "Total reclaimed space: 5kB\n",
			requests: []proto.Message{&containerv1.PruneContainersRequest{}, &networkv1.PruneNetworksRequest{},
				&containerv1.PruneImagesRequest{}}},
		{args: "system prune -af --volumes --filter label!=keep", script: prunes(),
			stdout: gone + "Deleted Volumes:\nvol\n\n" + images + "Total reclaimed space: 7kB\n",
			requests: []proto.Message{&containerv1.PruneContainersRequest{ExcludeLabels: []string{"keep"}},
				&networkv1.PruneNetworksRequest{ExcludeLabels: []string{"keep"}},
				&containerv1.PruneVolumesRequest{ExcludeLabels: []string{"keep"}},
				&containerv1.PruneImagesRequest{All: true, Filters: []string{"label!=keep"}}}},
		{args: "system prune", stdin: "n\n", stdout: question + "  - all dangling images\n\n" + ends, code: 1,
			stderr: "system prune has been cancelled\n", requests: []proto.Message{}},
		{args: "system prune -a --volumes --filter label=b --filter label=a", stdin: "n\n", code: 1,
			stdout: question + "  - all anonymous volumes not used by at least one container\n" +
				"  - all images without at least one container associated to them\n\n" +
				"  Items to be pruned will be filtered with:\n  - label=a\n  - label=b\n\n" + ends,
			stderr: "system prune has been cancelled\n", requests: []proto.Message{}},
		{args: "system prune -f --volumes --filter until=1h", code: 1, requests: []proto.Message{},
			stderr: "fairlead: system prune: The \"until\" filter is not supported with \"--volumes\"; " +
				"see 'fairlead system prune --help'\n"},
	})
}
