package networkdoc_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/moby/moby/api/types/network"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apitest"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/translate/networkdoc"
)

func TestNetworkOfVersions(t *testing.T) {
	n, bridge, c := &networkv1.Network{}, &networkv1.Network{}, &containerv1.Container{}
	apitest.ReadMessage(t, "network.json", n)
	apitest.ReadMessage(t, "bridge.json", bridge)
	apitest.ReadMessage(t, "container.json", c)
	containers := []*containerv1.Container{c}

	for _, minor := range []int{24, 51, 56} {
		v := apiversion.V(minor)
		apitest.Golden(t, fmt.Sprintf("inspect-%d", minor), networkdoc.InspectFromProto(n, containers, v))
		apitest.Golden(t, fmt.Sprintf("summary-%d", minor), networkdoc.SummaryFromProto(n, containers, v))
	}
	apitest.Golden(t, "bridge-56", networkdoc.InspectFromProto(bridge, nil, apiversion.Max))
	apitest.Validate(t, "GET /networks/{id}", 200, networkdoc.InspectFromProto(n, containers, apiversion.Max))
	apitest.Validate(t, "GET /networks/{id}", 200, networkdoc.InspectFromProto(bridge, nil, apiversion.Max))
	apitest.Validate(t, "GET /networks", 200, []any{networkdoc.SummaryFromProto(n, containers, apiversion.Max)})
}

func TestCreateRequest(t *testing.T) {
	for name, v := range map[string]apiversion.Version{"cli": apiversion.Max, "compose-1": apiversion.V(38)} {
		var r network.CreateRequest
		if err := json.Unmarshal(apitest.Read(t, "create-"+name+".json"), &r); err != nil {
			t.Fatal(err)
		}
		apitest.Golden(t, "create-"+name, networkdoc.CreateToProto(r, v))
	}
}
